from pathlib import Path

import pytest

from loadgen.cluster.node_facts import Link, node_facts

NIC, BRIDGE = Link("ens1f0", ""), Link("br-ex", "openvswitch")


def found(
    root: Path, *, kind: str = "", mode: str = "", pod: str = "", nic: Link = NIC
) -> dict[str, tuple[str, str]]:
    links = {"192.0.2.12": nic, "10.244.2.7": Link("flannel.1", kind)}
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


def a_port(root: Path, name: str, **files: str) -> None:
    """A link of a device that Open vSwitch has taken."""
    place = root / "sys/class/net" / name
    (place / "device").mkdir(parents=True, exist_ok=True)
    (root / "sys/class/net/ovs-system").mkdir(exist_ok=True)
    (place / "master").symlink_to(root / "sys/class/net/ovs-system")
    for file, text in files.items():
        (place / file).write_text(text + "\n")


def test_behind_a_bridge_of_open_vswitch_the_nic_is_its_port(root: Path) -> None:
    a_port(root, "ens1f0")
    facts = found(root, nic=BRIDGE)
    assert facts["bridge of the NIC"] == ("br-ex", "read")
    assert facts["NIC"] == ("ens1f0 (NIC)", "inferred")
    assert facts["NIC speed"] == ("100000 Mbit/s", "read")


def test_where_a_bridge_could_have_several_nics_none_is_guessed(root: Path) -> None:
    a_port(root, "ens1f0")
    a_port(root, "ens2f0")
    assert {"NIC", "NIC speed", "NIC offloads"} & found(root, nic=BRIDGE).keys() == set()


def test_a_nic_whose_switch_is_on_says_how_many_functions_have_representors(root: Path) -> None:
    a_port(root, "ens1f0", phys_switch_id="9803", phys_port_name="p0")
    a_port(root, "ens1f0_0", phys_switch_id="9803", phys_port_name="pf0vf0")
    a_port(root, "ens1f0_1", phys_switch_id="9803", phys_port_name="c1pf0vf1")
    a_port(root, "ens2f0_0", phys_switch_id="1234", phys_port_name="pf0vf0")
    facts = found(root, nic=BRIDGE)
    assert facts["NIC"][0] == "ens1f0 (NIC)"
    assert facts["switch in the NIC"] == ("on, with representors of 2 functions", "read")
    assert "switch in the NIC" not in found(root, nic=Link("ens2f0", ""))


def test_the_link_to_the_other_nodes_pods_shows_a_tunnel(root: Path) -> None:
    name = "link to the other node's pods"
    assert found(root, pod="10.244.2.7", kind="vxlan")[name] == ("flannel.1 (VXLAN)", "read")
    assert name not in found(root)


def test_kube_proxy_says_its_mode_itself_and_nobody_there_is_only_inferred(root: Path) -> None:
    assert found(root, mode="nftables")["kube-proxy"] == ("nftables", "read")
    assert found(root)["kube-proxy"] == ("none", "inferred")
