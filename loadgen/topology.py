"""What a lab may be: its ways and targets, which paths they make, and the numbers that people may choose.

Pure. A way is named by its mechanism and never by a product.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Literal, get_args

from loadgen.errors import LabError
from loadgen.nat import Form
from loadgen.services import POD_CIDR, SERVICE_CIDR

Way = Literal["host", "bridge", "routed", "vxlan", "macvlan"]
"""host: node to node. bridge: both pods on one bridge of one node. routed: pods on a veth each, on a node a
route to the pods of the others, without encapsulation. vxlan: pods on a bridge a node, VXLAN between nodes.
macvlan: pods on a macvlan of the node's NIC, as secondary NICs are."""
WAYS: tuple[Way, ...] = get_args(Way)
WAYS_TO_SERVICES: tuple[Way, ...] = ("host", "bridge", "routed", "vxlan")
"""Ways on which a packet passes the stack of its client's node, which is what knows Services."""

Target = Literal[
    "hostip", "podip", "net1ip", "clusterip", "clusterip-iptables", "nodeport", "nodeport-iptables"
]
"""The address dialled. Services are DNATed on the client's node: in kube-proxy's nftables form, or in its
iptables form where the target says so. A NodePort is dialled at the client's own node."""
TARGETS: tuple[Target, ...] = get_args(Target)

PLUGINS: Mapping[Way, str] = {"bridge": "bridge", "routed": "ptp", "vxlan": "bridge", "macvlan": "macvlan"}
"""The plugin of the CNI project that attaches pods by a way; the VXLAN device is a daemon's work, not its."""

DEFAULT_PATHS = (
    "host/hostip",
    "bridge/clusterip",
    "routed/clusterip",
    "vxlan/podip",
    "vxlan/clusterip",
    "vxlan/clusterip-iptables",
    "macvlan/net1ip",
)
SHAPED = "/shaped"
"""How the name of a path's shaped control ends."""

PORT = 8000
"""Where the server listens, in every namespace; and the port of its Services."""
FIRST_NODE_PORT = 30080
LOWEST_RATE_BPS, HIGHEST_RATE_BPS = 1_000_000, 32_000_000_000
"""Rates that a token bucket takes [bit/s]."""
LOWEST_MTU, HIGHEST_MTU = 1280, 9216
FEWEST_SERVICES, MOST_SERVICES = 10, 20_000

UNDERLAY = IPv4Network("172.18.0.0/24")
"""The network that nodes are on, whose first address is its router's."""
NET1 = IPv4Network("192.168.77.0/24")
"""The network that macvlan NICs are on, over the same wires."""


@dataclass(frozen=True, slots=True)
class Absence:
    """A path that is not in a lab, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class LabSettings:
    """What a lab is asked for. Raises LabError where it cannot be."""

    paths: tuple[str, ...] = DEFAULT_PATHS
    mtu: int = 1500
    """Of the underlay [bytes]; encapsulation takes its share of it."""
    line_rate_bps: int | None = None
    """What each node's NIC sends [bit/s]; None: what the machine can."""
    other_services: int = 100
    """Services in the tables besides those that are dialled."""
    shaped_bps: Mapping[str, int] = field(default_factory=dict)
    """Controls: for each path named here also PATH/shaped, whose client sends at this rate [bit/s]."""
    cni_bin: str = ""
    """Folder of CNI plugins that plug the pods, see PLUGINS; where empty, the lab does as they do itself."""

    def __post_init__(self) -> None:
        for name in (*self.paths, *self.shaped_bps):
            split_name(name)
        if len(set(self.paths)) < len(self.paths) or not (self.paths or self.shaped_bps):
            raise LabError(f"a lab needs paths, each of them once, not {', '.join(self.paths) or 'none'}")
        _check("the MTU", self.mtu, LOWEST_MTU, HIGHEST_MTU, "bytes")
        _check("other Services", self.other_services, FEWEST_SERVICES, MOST_SERVICES, "of them")
        if self.line_rate_bps is not None:
            _check("the line rate", self.line_rate_bps, LOWEST_RATE_BPS, HIGHEST_RATE_BPS, "bit/s")
        for name, rate_bps in self.shaped_bps.items():
            _check(f"the rate of {name}", rate_bps, LOWEST_RATE_BPS, HIGHEST_RATE_BPS, "bit/s")


def path_names() -> tuple[str, ...]:
    """Return the names of all paths that a lab may have."""
    return tuple(f"{way}/{target}" for way in WAYS for target in TARGETS if not _why_not(way, target))


def absences() -> Iterator[Absence]:
    """Yield the paths that cannot exist."""
    for way in WAYS:
        for target in TARGETS:
            reason = _why_not(way, target)
            if reason:
                yield Absence(f"{way}/{target}", f"n/a by construction: {reason}")


def split_name(name: str) -> tuple[Way, Target]:
    """Return the way and the target of a path by its name. Raises LabError where there is no such path."""
    for way in WAYS:
        for target in TARGETS:
            if name == f"{way}/{target}":
                reason = _why_not(way, target)
                if reason:
                    raise LabError(f"the path {name} is n/a by construction: {reason}")
                return way, target
    raise LabError(f"a lab has no path {name!r}; it may have: {', '.join(path_names())}")


def form_of(target: Target) -> Form | None:
    """Return the form in which the client's node must know the Service `target`; None where it is none."""
    if not target.startswith(("clusterip", "nodeport")):
        return None
    return "iptables" if target.endswith("-iptables") else "nftables"


def node_address(node: int) -> IPv4Address:
    """Return the address of node number `node` on the underlay."""
    return UNDERLAY[10 + node]


def pod_network(way: Way, node: int) -> IPv4Network:
    """Return the addresses of the pods of a way on a node; the first one is the node's own."""
    return IPv4Network((int(POD_CIDR[0]) + ((WAYS.index(way) * 16 + node) << 8), 24))


def cluster_ip(way: Way) -> IPv4Address:
    """Return the ClusterIP of a way's Service."""
    return SERVICE_CIDR[10 + WAYS.index(way)]


def node_port(way: Way) -> int:
    """Return the NodePort of a way's Service."""
    return FIRST_NODE_PORT + WAYS.index(way)


def _why_not(way: Way, target: Target) -> str:
    """Return why a way has no such target, empty where it has."""
    if form_of(target):
        if way not in WAYS_TO_SERVICES:
            return "Services are DNATed by the node's own stack, which frames of a macvlan NIC never enter"
        return ""
    own = {"host": "hostip", "macvlan": "net1ip"}.get(way, "podip")
    return "" if target == own else f"the only address there is that of {way}/{own}"


def _check(what: str, value: int, lowest: int, highest: int, unit: str) -> None:
    if not lowest <= value <= highest:
        raise LabError(f"{what} must be between {lowest} and {highest} {unit}, not {value}")
