from itertools import combinations

import pytest

from loadgen.errors import LabError
from loadgen.services import POD_CIDR, SERVICE_CIDR
from loadgen.topology import (
    DEFAULT_PATHS,
    MOST_SERVICES,
    TARGETS,
    WAYS,
    LabSettings,
    absences,
    cluster_ip,
    form_of,
    path_names,
    pod_network,
    split_name,
)


def test_the_default_paths_show_every_way_and_both_forms_of_a_cluster_ip() -> None:
    ends = [split_name(name) for name in DEFAULT_PATHS]
    assert {way for way, _ in ends} == set(WAYS)
    assert {form_of(target) for _, target in ends} == {None, "nftables", "iptables"}
    assert DEFAULT_PATHS[0] == "host/hostip"


def test_every_way_and_target_is_a_path_or_has_a_reason_why_not() -> None:
    absent = {absence.name: absence.reason for absence in absences()}
    assert {f"{way}/{target}" for way in WAYS for target in TARGETS} == set(path_names()) | set(absent)
    assert not set(path_names()) & set(absent)
    assert absent["macvlan/clusterip"].startswith("n/a by construction: Services are DNATed by the node")
    assert absent["routed/hostip"] == "n/a by construction: the only address there is that of routed/podip"


def test_a_path_that_cannot_be_is_refused_with_the_reason() -> None:
    with pytest.raises(LabError, match="macvlan/nodeport is n/a by construction: Services are DNATed"):
        LabSettings(paths=("host/hostip", "macvlan/nodeport"))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"paths": ("host/hostip", "vxlan/pod")}, "no path 'vxlan/pod'; it may have: host/hostip, "),
        ({"paths": ()}, "needs paths, each of them once, not none"),
        ({"paths": ("host/hostip", "host/hostip")}, "each of them once"),
        ({"mtu": 500}, "the MTU must be between 1280 and 9216 bytes, not 500"),
        ({"line_rate_bps": 10}, "the line rate must be between 1000000 and 32000000000 bit/s, not 10"),
        ({"other_services": 20_001}, "other Services must be between 10 and 20000 of them, not 20001"),
        ({"shaped_bps": {"host/hostip": 0}}, "the rate of host/hostip must be between"),
        ({"shaped_bps": {"pod": 10**9}}, "no path 'pod'"),
    ],
)
def test_settings_that_cannot_be_are_refused(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(LabError, match=complaint):
        LabSettings(**options)


def test_no_two_nodes_and_ways_share_pod_addresses() -> None:
    networks = [pod_network(way, node) for way in WAYS for node in range(16)]
    assert all(network.subnet_of(POD_CIDR) for network in networks)
    assert not any(one.overlaps(other) for one, other in combinations(networks, 2))


def test_cluster_ips_are_no_addresses_of_pods() -> None:
    assert len({cluster_ip(way) for way in WAYS}) == len(WAYS)
    assert all(cluster_ip(way) in SERVICE_CIDR for way in WAYS)
    assert not SERVICE_CIDR.overlaps(POD_CIDR)
    assert SERVICE_CIDR.num_addresses > MOST_SERVICES
