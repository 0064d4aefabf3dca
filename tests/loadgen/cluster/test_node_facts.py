from pathlib import Path

import pytest

from loadgen.cluster.node_facts import Link, node_facts


def found(root: Path, *, kind: str = "", mode: str = "", pod: str = "") -> dict[str, tuple[str, str]]:
    links = {"192.0.2.12": Link("ens1f0", ""), "10.244.2.7": Link("flannel.1", kind)}
    facts = node_facts(
        "client",
        "192.0.2.12",
        pod,
        link=links.get,
        offloads=lambda _: {"tx-tcp-segmentation": True, "hw-tc-offload": False},
        mode=lambda: mode,
        root=root,
    )
    return {fact.name.removesuffix(", client node"): (fact.value, fact.confidence) for fact in facts}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A /sys with one NIC."""
    nic = tmp_path / "sys/class/net/ens1f0"
    (nic / "device").mkdir(parents=True)
    (tmp_path / "mlx5_core").mkdir()
    (nic / "device/driver").symlink_to(tmp_path / "mlx5_core")
    (nic / "mtu").write_text("9000\n")
    (nic / "speed").write_text("100000\n")
    return tmp_path


def test_a_nic_is_told_with_its_speed_its_driver_and_its_offloads(root: Path) -> None:
    facts = found(root)
    assert facts["NIC"] == ("ens1f0 (NIC)", "read")
    assert facts["NIC MTU"] == ("9000 bytes", "read")
    assert facts["NIC speed"] == ("100000 Mbit/s", "read")
    assert facts["NIC driver"] == ("mlx5_core", "read")
    assert facts["NIC offloads"] == ("tx-tcp-segmentation on, hw-tc-offload off", "read")


@pytest.mark.parametrize("speed", ["-1", "0", ""])
def test_a_speed_that_the_driver_does_not_know_is_absent(root: Path, speed: str) -> None:
    (root / "sys/class/net/ens1f0/speed").write_text(speed)
    assert "NIC speed" not in found(root)


def test_the_link_to_the_other_nodes_pods_shows_a_tunnel(root: Path) -> None:
    name = "link to the other node's pods"
    assert found(root, pod="10.244.2.7", kind="vxlan")[name] == ("flannel.1 (VXLAN)", "read")
    assert name not in found(root)


def test_kube_proxy_says_its_mode_itself_and_nobody_there_is_only_inferred(root: Path) -> None:
    assert found(root, mode="nftables")["kube-proxy"] == ("nftables", "read")
    assert found(root)["kube-proxy"] == ("none", "inferred")
