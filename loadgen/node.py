"""A node of the lab: a NIC on the underlay, and pods attached to it by one of the ways.

What a way needs once a node (a bridge, a VXLAN device) is made with its first pod. Knows neither Services nor
which paths are measured.
"""

from collections import Counter
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any, NamedTuple

from loadgen.cni import Plugins
from loadgen.errors import LabError
from loadgen.nat import Form
from loadgen.stack import VXLAN_HEADERS_BYTES, Stack
from loadgen.topology import NET1, PLUGINS, UNDERLAY, Way, node_address, pod_network

NIC = "eth0"
"""What the link is called by which a node, or a pod, is on its network."""
_ANYWHERE = IPv4Network("0.0.0.0/0")
_FIRST_POD = 10


class Place(NamedTuple):
    """Where a client or a server is: its namespace, its address there, and the link that has it."""

    stack: Stack
    address: IPv4Address
    link: str


class Underlay:
    """The network between nodes: a switch, which is also their router to nowhere."""

    def __init__(self, lifetime: ExitStack, *, mtu: int) -> None:
        self.mtu = mtu
        self.lifetime = lifetime
        self.switch = lifetime.enter_context(Stack("underlay"))
        self.switch.add_bridge("switch", mtu=mtu)
        # A switch looks at no IP header: bridged packets must not pass the filters of its namespace.
        self.switch.set_sysctl("net/bridge/bridge-nf-call-iptables", "0")
        self.switch.add_address("switch", IPv4Interface((UNDERLAY[1], UNDERLAY.prefixlen)))


class Node:
    """A node on the underlay; its NIC sends at most `rate_bps` [bit/s], where that is given.

    Its namespaces, and those of its pods, end with the underlay's `lifetime`.
    """

    def __init__(
        self,
        name: str,
        number: int,
        underlay: Underlay,
        form: Form,
        *,
        rate_bps: int | None,
        plugins: Plugins | None,
    ) -> None:
        self.name = name
        self.number = number
        self.form = form
        """How Services are to be known to it."""
        self.address = node_address(number)
        self.stack = underlay.lifetime.enter_context(Stack(name))
        self._underlay = underlay
        self._plugins = plugins
        """What attaches pods; where None, this does it as they do."""
        self.pods: Counter[Way] = Counter()
        """How many pods are attached, by way."""
        port = f"to-{name}"
        self.stack.add_cable(NIC, underlay.switch, port, mtu=underlay.mtu)
        underlay.switch.join(port, "switch")
        self.stack.add_address(NIC, IPv4Interface((self.address, UNDERLAY.prefixlen)))
        self.stack.add_route(_ANYWHERE, NIC, via=UNDERLAY[1])
        if rate_bps is not None:
            self.stack.limit_rate(NIC, rate_bps)
        if not self.stack.set_sysctl("net/ipv4/ip_forward", "1"):
            raise LabError("this kernel does not forward IPv4: /proc/sys/net/ipv4/ip_forward is missing")
        # As Kubernetes demands of nodes: bridged packets pass the node's rules, or replies between pods of
        # one bridge would go round the connection tracking that undoes DNAT.
        self.filters_bridges = self.stack.set_sysctl("net/bridge/bridge-nf-call-iptables", "1")

    @property
    def host(self) -> Place:
        """The node itself, for processes on its own network."""
        return Place(self.stack, self.address, NIC)

    def add_pod(self, way: Way, name: str) -> Place:
        """Attach a new pod. Raises LabError where `way` attaches none."""
        if way == "host":
            raise LabError("pods on the host's own network are not attached")
        attach = {"bridge": self._plug, "vxlan": self._plug, "routed": self._wire, "macvlan": self._share_nic}
        stack = self._underlay.lifetime.enter_context(Stack(name))
        place = attach[way](way, stack, self.pods[way])
        self.pods[way] += 1
        return place

    def reach(self, way: Way, other: "Node") -> None:
        """Route to the pods of `way` on another node, if both have some and the way needs it."""
        if not (self.pods[way] and other.pods[way]):
            return
        network = pod_network(way, other.number)
        if way == "routed":
            self.stack.add_route(network, NIC, via=other.address)
        if way == "vxlan":
            inner = network.network_address
            self.stack.add_vxlan_peer("vxlan", inner=inner, mac=other.stack.mac("vxlan"), outer=other.address)
            self.stack.add_route(network, "vxlan", via=inner, on_link=True)

    def _plug(self, way: Way, pod: Stack, ordinal: int) -> Place:
        """Plug a pod into the way's bridge, as the `bridge` plugin of CNI does."""
        network, mtu = pod_network(way, self.number), self._underlay.mtu
        bridge = f"{way}-pods"
        if way == "vxlan":
            mtu -= VXLAN_HEADERS_BYTES
        if ordinal == 0 and way == "vxlan":
            self.stack.add_vxlan("vxlan", number=1, over=NIC, local=self.address, mtu=mtu)
            self.stack.add_address("vxlan", IPv4Interface((network.network_address, 32)))
        if self._plugins:
            return self._call(self._plugins, way, pod, NIC, mtu=mtu, bridge=bridge, isGateway=True)
        if ordinal == 0:
            self.stack.add_bridge(bridge, mtu=mtu)
            self.stack.add_address(bridge, IPv4Interface((network[1], network.prefixlen)))
        port = f"{way}{ordinal}"
        self.stack.add_cable(port, pod, NIC, mtu=mtu)
        self.stack.join(port, bridge)
        address = network[_FIRST_POD + ordinal]
        pod.add_address(NIC, IPv4Interface((address, network.prefixlen)))
        pod.add_route(_ANYWHERE, NIC, via=network[1])
        return Place(pod, address, NIC)

    def _wire(self, way: Way, pod: Stack, ordinal: int) -> Place:
        """Give a pod a cable of its own and a route to it, as the `ptp` plugin of CNI does."""
        if self._plugins:
            return self._call(self._plugins, way, pod, NIC, mtu=self._underlay.mtu)
        network = pod_network(way, self.number)
        gateway, address = network[1], network[_FIRST_POD + ordinal]
        port = f"{way}{ordinal}"
        self.stack.add_cable(port, pod, NIC, mtu=self._underlay.mtu)
        self.stack.add_address(port, IPv4Interface((gateway, 32)))
        self.stack.add_route(IPv4Network(address), port)
        pod.add_address(NIC, IPv4Interface((address, 32)))
        pod.add_route(IPv4Network(gateway), NIC)
        pod.add_route(_ANYWHERE, NIC, via=gateway)
        return Place(pod, address, NIC)

    def _share_nic(self, way: Way, pod: Stack, ordinal: int) -> Place:
        """Give a pod a macvlan of the node's NIC and an address on the underlay's wires."""
        link = "net1"
        first = NET1[16 * (self.number + 1)]
        if self._plugins:
            mtu = self._underlay.mtu
            return self._call(self._plugins, way, pod, link, NET1, first, mtu=mtu, master=NIC, mode="bridge")
        self.stack.add_macvlan(NIC, pod, link, mtu=self._underlay.mtu)
        address = first + ordinal
        pod.add_address(link, IPv4Interface((address, NET1.prefixlen)))
        return Place(pod, address, link)

    def _call(
        self,
        plugins: Plugins,
        way: Way,
        pod: Stack,
        link: str,
        network: IPv4Network | None = None,
        first: IPv4Address | None = None,
        **options: Any,
    ) -> Place:
        """Have a plugin attach a pod; the network is the way's own, with a gateway, where none is given."""
        pods = network or pod_network(way, self.number)
        address = plugins.plug(
            PLUGINS[way],
            self.stack,
            pod,
            link,
            network=pods,
            first=first or pods[_FIRST_POD],
            routed=network is None,
            **options,
        )
        return Place(pod, address, link)
