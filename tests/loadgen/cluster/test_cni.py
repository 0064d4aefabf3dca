from typing import Any

import pytest
from made_cluster import (
    ANTREA,
    CALICO,
    CANAL,
    CILIUM,
    FLANNEL,
    KUBE_OVN,
    MULTUS,
    OVN_KUBERNETES,
    an_inventory,
    kube_router,
)

from loadgen.cluster.cni import detect_cni
from loadgen.facts import Fact, conflicts


def found(*daemon_sets: Any, **parts: Any) -> list[tuple[str, str, str]]:
    return [(f.name, f.value, f.confidence) for f in detect_cni(an_inventory(*daemon_sets, **parts))]


@pytest.mark.parametrize(
    ("daemon_set", "value"),
    [
        (CALICO, "Calico v3.32.1"),
        (CILIUM, "Cilium v1.20.0"),
        (FLANNEL, "Flannel v0.28.9"),
        (ANTREA, "Antrea v2.7.0"),
        (KUBE_OVN, "Kube-OVN v1.16.2"),
        (OVN_KUBERNETES, "OVN-Kubernetes release-1.2"),
        (kube_router(), "kube-router v2.11.1"),
    ],
)
def test_what_runs_is_read_with_its_version(daemon_set: Any, value: str) -> None:
    assert found(daemon_set) == [("CNI", value, "read")]


def test_canal_is_two_products_and_one_cni() -> None:
    words = "Canal: Flannel v0.28.9 for the network, Calico v3.32.1 for policies"
    assert found(CANAL) == [("CNI", words, "read")]
    # Also where the two are installed each by itself.
    assert found(CALICO, FLANNEL) == [("CNI", words, "read")]


def test_cilium_chained_behind_another_is_not_the_cni() -> None:
    config = {"cilium-config": {"cni-chaining-mode": "generic-veth"}}
    assert found(CALICO, CILIUM, config_maps=config) == [
        ("CNI", "Calico v3.32.1", "read"),
        ("CNI chained behind", "Cilium v1.20.0", "read"),
    ]


def test_two_cnis_that_are_no_known_company_are_a_conflict() -> None:
    facts = tuple(detect_cni(an_inventory(CALICO, CILIUM)))
    (conflict,) = conflicts(facts)
    assert {fact.value for fact in conflict.facts} == {"Calico v3.32.1", "Cilium v1.20.0"}


def test_multus_is_beside_the_cni() -> None:
    assert found(CILIUM, MULTUS) == [
        ("CNI", "Cilium v1.20.0", "read"),
        ("CNI for second interfaces", "Multus v4.3.0-thick", "read"),
    ]


def test_what_only_left_its_api_group_is_inferred_and_only_where_nothing_runs() -> None:
    groups = frozenset({"cilium.io", "apps"})
    assert found(groups=groups) == [("CNI", "Cilium", "inferred")]
    assert found(FLANNEL, groups=groups) == [("CNI", "Flannel v0.28.9", "read")]


def test_a_daemon_set_that_wants_no_node_does_not_run() -> None:
    idle = {**FLANNEL, "status": {"desiredNumberScheduled": 0}}
    assert found(idle) == []


def test_an_image_without_a_tag_is_told_by_its_digest() -> None:
    facts = list(detect_cni(an_inventory(CILIUM_BY_DIGEST)))
    assert facts == [Fact("CNI", "Cilium sha256:0123456789ab", "DaemonSet kube-system/cilium, its image")]


CILIUM_BY_DIGEST: Any = {
    **CILIUM,
    "spec": {
        "template": {
            "spec": {
                "containers": [
                    {"name": "cilium-agent", "image": "reg:5000/cilium@sha256:0123456789abcdef"},
                ]
            }
        }
    },
}
