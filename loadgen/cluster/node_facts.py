"""What a node says of itself to a pod on its own network: its NIC, and what serves Services on it.

Everything is read on the node, from the kernel or from kube-proxy; what is not told is absent.
"""

import http.client
import platform
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path as File

from pyroute2 import IPRoute
from pyroute2.ethtool.ethtool import Ethtool
from pyroute2.netlink.exceptions import NetlinkError

from loadgen.facts import Fact

PROXY_PORT = 10249
"""Where kube-proxy says how it works, on the loopback of its node."""
ANSWER_S = 3.0
OFFLOADS = (
    "tx-tcp-segmentation",
    "rx-gro",
    "rx-gro-hw",
    "tx-udp_tnl-segmentation",
    "rx-udp_tunnel-port-offload",
    "hw-tc-offload",
)
"""Those that change what a packet of these paths costs."""
MODES = {"iptables", "ipvs", "nftables", "kernelspace"}
TUNNELS = {"vxlan": "VXLAN", "geneve": "Geneve", "ipip": "IP in IP", "wireguard": "WireGuard", "gre": "GRE"}
"""Kinds of links that put headers around packets."""


OPEN_VSWITCH = "openvswitch"
REPRESENTOR = re.compile(r"(c\d+)?pf\d+(vf|sf)\d+")
"""Port names of representors: on the node, what stands for a function of a NIC that pods have."""


@dataclass(frozen=True, slots=True)
class Link:
    """The link by which packets to an address leave."""

    name: str
    kind: str
    """As the kernel calls it; empty for a NIC."""


def link_to(address: str) -> Link | None:
    """Ask the kernel by which link packets to `address` leave; None where no route leads there."""
    try:
        with IPRoute() as kernel:
            number = kernel.route("get", dst=address)[0].get("oif")
            link = kernel.link("get", index=number)[0]
            return Link(
                str(link.get("ifname")), str(link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") or "")
            )
    except (NetlinkError, OSError):
        return None


def offloads_of(link: str) -> dict[str, bool]:
    """Ask the kernel which of OFFLOADS a link has, and whether they are on; none where it does not say."""
    try:
        features = Ethtool().get_features(link).features
    except (NetlinkError, OSError):
        return {}
    return {name: bool(features[name].enable) for name in OFFLOADS if name in features}


def proxy_mode() -> str:
    """Ask the kube-proxy of this node for its mode; empty where none answers."""
    connection = http.client.HTTPConnection("127.0.0.1", PROXY_PORT, timeout=ANSWER_S)
    try:
        connection.request("GET", "/proxyMode")
        answer = connection.getresponse()
        said = answer.read(64).decode(errors="replace").strip() if answer.status == 200 else ""
    except (OSError, http.client.HTTPException):
        said = ""
    finally:
        connection.close()
    return said if said in MODES else ""


def node_facts(
    end: str,
    peer: str,
    pod: str,
    *,
    link: Callable[[str], Link | None] = link_to,
    offloads: Callable[[str], dict[str, bool]] = offloads_of,
    mode: Callable[[], str] = proxy_mode,
    root: File = File("/"),
) -> Iterator[Fact]:
    """Yield the facts of the node of one `end`. `peer` is the address of the other end's node, `pod` that of
    a pod over there, empty where none is to be looked at."""
    node = f"{end} node"
    yield Fact(f"kernel, {node}", platform.release(), "uname on the node")
    said = mode()
    if said:
        yield Fact(f"kube-proxy, {node}", said, f"http://127.0.0.1:{PROXY_PORT}/proxyMode on the node")
    else:
        source = f"nobody answers at 127.0.0.1:{PROXY_PORT} on the node"
        yield Fact(f"kube-proxy, {node}", "none", source, "inferred")
    nic = link(peer)
    if nic:
        yield from _nic(nic, node, offloads, root)
    towards = link(pod) if pod else None
    if towards:
        source = f"RTM_GETROUTE {pod} on the node"
        yield Fact(f"link to the other node's pods, {node}", _described(towards), source)


def _described(link: Link) -> str:
    return f"{link.name} ({TUNNELS.get(link.kind, link.kind or 'NIC')})"


def _nic(nic: Link, node: str, offloads: Callable[[str], dict[str, bool]], root: File) -> Iterator[Fact]:
    links = root / "sys/class/net"
    if nic.kind == OPEN_VSWITCH:
        # OVN-Kubernetes puts the node's address on a bridge, in which the NIC is a port.
        yield Fact(f"bridge of the NIC, {node}", nic.name, "RTM_GETROUTE to the other node")
        ports = sorted(link.name for link in links.iterdir() if _is_port(link))
        if len(ports) != 1:
            return
        nic = Link(ports[0], "")
        yield Fact(f"NIC, {node}", _described(nic), f"/sys/class/net/{nic.name}/master", "inferred")
    else:
        yield Fact(f"NIC, {node}", _described(nic), "RTM_GETROUTE to the other node")
    place = links / nic.name
    mtu = _text(place / "mtu")
    if mtu:
        yield Fact(f"NIC MTU, {node}", f"{mtu} bytes", f"/sys/class/net/{nic.name}/mtu")
    speed = _text(place / "speed")
    # -1 and 0 are what drivers say who do not know: those of virtual machines.
    if speed.isdigit() and int(speed) > 0:
        yield Fact(f"NIC speed, {node}", f"{speed} Mbit/s", f"/sys/class/net/{nic.name}/speed")
    driver = place / "device/driver"
    if driver.exists():
        yield Fact(f"NIC driver, {node}", driver.resolve().name, f"/sys/class/net/{nic.name}/device/driver")
    switch = _text(place / "phys_switch_id")
    if switch:
        others = (link for link in links.iterdir() if _text(link / "phys_switch_id") == switch)
        functions = sum(_is_representor(link) for link in others)
        value = f"on, with representors of {functions} functions"
        yield Fact(f"switch in the NIC, {node}", value, f"/sys/class/net/{nic.name}/phys_switch_id")
    found = offloads(nic.name)
    if found:
        words = ", ".join(f"{name} {'on' if on else 'off'}" for name, on in found.items())
        yield Fact(f"NIC offloads, {node}", words, f"ethtool ioctl on {nic.name}")


def _is_port(link: File) -> bool:
    """Say whether a link is a NIC's port in an Open vSwitch."""
    master = (link / "master").resolve().name
    return master == "ovs-system" and (link / "device").exists() and not _is_representor(link)


def _is_representor(link: File) -> bool:
    return bool(REPRESENTOR.fullmatch(_text(link / "phys_port_name")))


def _text(file: File) -> str:
    """Return what a file of the system says; nothing where there is none, or the driver refuses."""
    try:
        return file.read_text().strip()
    except OSError:
        return ""
