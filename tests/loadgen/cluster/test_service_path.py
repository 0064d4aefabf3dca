from typing import Any

import pytest
from made_cluster import CALICO, CILIUM, KUBE_PROXY, an_inventory

from loadgen.cluster.service_path import detect_service_path


def found(*daemon_sets: Any, **parts: Any) -> dict[str, tuple[str, str]]:
    facts = detect_service_path(an_inventory(*daemon_sets, **parts))
    return {fact.name: (fact.value, fact.source) for fact in facts}


@pytest.mark.parametrize(
    ("config", "mode", "source"),
    [
        ("mode: nftables\n", "nftables", "ConfigMap kube-system/kube-proxy, mode"),
        ("mode: ipvs\n", "ipvs", "ConfigMap kube-system/kube-proxy, mode"),
        ('mode: ""\n', "iptables", "ConfigMap kube-system/kube-proxy, mode empty: its default"),
        ("bindAddress: 0.0.0.0\n", "iptables", "ConfigMap kube-system/kube-proxy, mode empty: its default"),
    ],
)
def test_kube_proxys_mode_is_said_for_each_node_by_its_config_map(
    config: str, mode: str, source: str
) -> None:
    facts = found(KUBE_PROXY, config_maps={"kube-proxy": {"config.conf": config}})
    assert facts == {"kube-proxy, client node": (mode, source), "kube-proxy, server node": (mode, source)}


def test_a_config_map_that_stayed_when_kube_proxy_went_says_nothing() -> None:
    config = {"kube-proxy": {"config.conf": "mode: iptables\n"}}
    assert found(CALICO, config_maps=config) == {}
    off = {**KUBE_PROXY, "status": {"desiredNumberScheduled": 0}}
    assert found(off, config_maps=config)["kube-proxy, client node"] == (
        "none",
        "DaemonSet kube-system/kube-proxy, which wants no node",
    )


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("true", "by Cilium"),
        ("false", "left to kube-proxy"),
        ("strict", "by Cilium"),
        ("disabled", "left to kube-proxy"),
        ("partial", "by Cilium, partial"),
    ],
)
def test_cilium_says_whether_it_replaces_kube_proxy(value: str, words: str) -> None:
    config = {"cilium-config": {"kube-proxy-replacement": value}}
    assert found(CILIUM, config_maps=config)["Services"][0] == words


def test_calicos_ebpf_serves_services() -> None:
    felix = {"metadata": {"name": "default"}, "spec": {"bpfEnabled": True}}
    facts = found(CALICO, custom={"FelixConfiguration": (felix,)})
    assert facts == {"Services": ("by Calico's eBPF programs", "FelixConfiguration default, bpfEnabled")}
