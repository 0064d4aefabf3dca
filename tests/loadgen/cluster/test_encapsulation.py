import json
from typing import Any

import pytest
from made_cluster import (
    ANTREA,
    CALICO,
    CANAL,
    CILIUM,
    FLANNEL,
    KUBE_OVN,
    OVN_KUBERNETES,
    a_node,
    a_pod,
    an_inventory,
    kube_router,
)

from loadgen.cluster.encapsulation import ENCAPSULATION, detect_encapsulation
from loadgen.facts import conflicts

BACKEND = "flannel.alpha.coreos.com/backend-type"


def found(*daemon_sets: Any, **parts: Any) -> dict[str, str]:
    facts = list(detect_encapsulation(an_inventory(*daemon_sets, **parts)))
    assert not conflicts(facts)
    return {fact.name: fact.value for fact in facts}


def why(*daemon_sets: Any, **parts: Any) -> str:
    """The source of the only fact about encapsulation."""
    facts = detect_encapsulation(an_inventory(*daemon_sets, **parts))
    (fact,) = (fact for fact in facts if fact.name == ENCAPSULATION)
    return fact.source


def a_pool(**spec: str) -> dict[str, Any]:
    pool = {"metadata": {"name": "default-ipv4-ippool"}, "spec": {"cidr": "10.244.0.0/16", **spec}}
    other = {"metadata": {"name": "other"}, "spec": {"cidr": "10.9.0.0/16", "ipipMode": "Always"}}
    return {"IPPool": (other, pool)}


def calico_nodes(client: str, server: str) -> dict[str, Any]:
    name = "projectcalico.org/IPv4Address"
    return {"client_node": a_node("a", **{name: client}), "server_node": a_node("b", **{name: server})}


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        ({"vxlanMode": "Always", "ipipMode": "Never"}, "VXLAN"),
        ({"vxlanMode": "Never", "ipipMode": "Always"}, "IP in IP"),
        ({"vxlanMode": "Never", "ipipMode": "Never"}, "none"),
        ({}, "none"),
    ],
)
def test_calicos_pool_is_that_of_the_servers_pod(spec: dict[str, str], value: str) -> None:
    assert found(CALICO, custom=a_pool(**spec))[ENCAPSULATION] == value


@pytest.mark.parametrize(
    ("client", "server", "value", "because"),
    [
        ("192.0.2.11/24", "192.0.2.12/24", "none", "both nodes on one subnet"),
        ("192.0.2.11/24", "198.51.100.12/24", "VXLAN", "nodes on two subnets"),
        # One network to the eye, and two to Calico.
        ("192.0.2.11/28", "192.0.2.12/25", "VXLAN", "nodes on two subnets"),
    ],
)
def test_calicos_cross_subnet_is_resolved_for_the_two_nodes(
    client: str, server: str, value: str, because: str
) -> None:
    parts = {"custom": a_pool(vxlanMode="CrossSubnet"), **calico_nodes(client, server)}
    assert found(CALICO, **parts)[ENCAPSULATION] == value
    assert why(CALICO, **parts).endswith(because)


def test_calicos_cross_subnet_is_left_open_where_subnets_are_unknown() -> None:
    value = found(CALICO, custom=a_pool(ipipMode="CrossSubnet"))[ENCAPSULATION]
    assert value == "IP in IP if the nodes are on two subnets, which nobody says"


def test_calicos_data_plane_is_what_runs_before_what_is_wanted() -> None:
    wanted = {"calicoNetwork": {"linuxDataplane": "BPF"}}
    computed = {"computed": {"calicoNetwork": {"linuxDataplane": "Iptables"}}}
    installation = {"metadata": {"name": "default"}, "spec": wanted, "status": computed}
    (fact,) = detect_encapsulation(an_inventory(CALICO, custom={"Installation": (installation,)}))
    assert (fact.value, fact.confidence, fact.source) == (
        "Iptables",
        "read",
        "Installation default, status.computed",
    )
    (fact,) = detect_encapsulation(
        an_inventory(CALICO, custom={"Installation": ({**installation, "status": {}},)})
    )
    assert (fact.value, fact.confidence) == ("BPF", "inferred")


@pytest.mark.parametrize(
    ("settings", "value", "device"),
    [
        ({"routing-mode": "native"}, "none", "veth"),
        ({"routing-mode": "tunnel", "tunnel-protocol": "geneve"}, "Geneve", "veth"),
        # Absent keys have their defaults.
        ({}, "VXLAN", "veth"),
        ({"routing-mode": "native", "datapath-mode": "netkit"}, "none", "netkit"),
        # Before 1.14.
        ({"tunnel": "disabled"}, "none", "veth"),
        ({"tunnel": "geneve"}, "Geneve", "veth"),
    ],
)
def test_ciliums_settings_say_how_it_routes(settings: dict[str, str], value: str, device: str) -> None:
    facts = found(CILIUM, config_maps={"cilium-config": settings})
    assert facts[ENCAPSULATION] == value
    assert facts["Cilium pod device"] == device
    assert facts["Cilium BIG TCP, IPv4"] == "off"


def test_what_is_configured_is_never_said_to_run() -> None:
    facts = detect_encapsulation(
        an_inventory(CILIUM, config_maps={"cilium-config": {"routing-mode": "native"}})
    )
    assert {fact.confidence for fact in facts} == {"inferred"}


@pytest.mark.parametrize(
    ("backend", "value"), [("vxlan", "VXLAN"), ("host-gw", "none"), ("ipip", "IP in IP")]
)
def test_flannels_backend_is_what_it_noted_on_both_nodes(backend: str, value: str) -> None:
    nodes = {
        "client_node": a_node("a", **{BACKEND: backend}),
        "server_node": a_node("b", **{BACKEND: backend}),
    }
    assert found(FLANNEL, **nodes)[ENCAPSULATION] == value


def test_flannels_nodes_that_disagree_are_a_conflict() -> None:
    nodes = {
        "client_node": a_node("a", **{BACKEND: "vxlan"}),
        "server_node": a_node("b", **{BACKEND: "host-gw"}),
    }
    (conflict,) = conflicts(detect_encapsulation(an_inventory(FLANNEL, **nodes)))
    assert {fact.value for fact in conflict.facts} == {"VXLAN", "none"}


def test_flannels_direct_routing_leaves_open_what_the_annotation_says() -> None:
    config = {"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan", "DirectRouting": True}}
    parts = {
        "client_node": a_node("a", **{BACKEND: "vxlan"}),
        "config_maps": {"kube-flannel-cfg": {"net-conf.json": json.dumps(config)}},
    }
    value = found(FLANNEL, **parts)[ENCAPSULATION]
    assert value == "VXLAN if the nodes are on two subnets, which nobody says"


def test_in_canal_the_network_is_flannels() -> None:
    parts = {"client_node": a_node("a", **{BACKEND: "vxlan"}), "custom": a_pool(ipipMode="Always")}
    assert found(CANAL, **parts) == {ENCAPSULATION: "VXLAN"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("trafficEncapMode: noEncap\n", "none"),
        ("trafficEncapMode: encap\ntunnelType: vxlan\n", "VXLAN"),
        ("#trafficEncapMode: noEncap\n", "Geneve"),
        ("trafficEncapMode: networkPolicyOnly\n", "none"),
        ("trafficEncapMode: hybrid\n", "Geneve if the nodes are on two subnets, which nobody says"),
    ],
)
def test_antreas_mode_is_that_of_its_settings(text: str, value: str) -> None:
    assert found(ANTREA, config_maps={"antrea-config": {"antrea-agent.conf": text}})[ENCAPSULATION] == value


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (("--run-router=true", "--enable-overlay=false"), "none"),
        (("--overlay-type=full",), "IP in IP"),
        (("--overlay-type=full", "--overlay-encap=fou"), "FoU (IP in UDP)"),
        ((), "IP in IP if the nodes are on two subnets, which nobody says"),
    ],
)
def test_kube_routers_overlay_is_in_its_arguments(arguments: tuple[str, ...], value: str) -> None:
    assert found(kube_router(*arguments))[ENCAPSULATION] == value


def test_kube_ovns_subnet_is_that_of_the_servers_pod() -> None:
    pod = a_pod(**{"ovn.kubernetes.io/logical_switch": "ovn-default"})
    overlay = {"metadata": {"name": "ovn-default"}, "spec": {"protocol": "IPv4"}}
    facts = found(KUBE_OVN, server_pod=pod, custom={"Subnet": (overlay,)})
    assert facts == {"Kube-OVN subnet of the server's pod": "ovn-default", ENCAPSULATION: "Geneve"}
    underlay = {"metadata": {"name": "ovn-default"}, "spec": {"vlan": "vlan1"}}
    assert found(KUBE_OVN, server_pod=pod, custom={"Subnet": (underlay,)})[ENCAPSULATION] == "none"


def test_ovn_kubernetes_is_geneve_between_nodes_that_have_its_subnets_and_says_no_more() -> None:
    name = "k8s.ovn.org/node-subnets"
    nodes = {"client_node": a_node("a", **{name: "{}"}), "server_node": a_node("b", **{name: "{}"})}
    assert found(OVN_KUBERNETES, **nodes) == {ENCAPSULATION: "Geneve"}
    assert found(OVN_KUBERNETES) == {}


def test_nothing_is_said_of_what_does_not_run() -> None:
    parts = {
        "custom": a_pool(ipipMode="Always"),
        "config_maps": {"cilium-config": {"routing-mode": "native"}},
    }
    assert found(FLANNEL, **parts) == {}
