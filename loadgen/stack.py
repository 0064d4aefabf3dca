"""A network namespace with its network stack: links, addresses, routes and queues, set over netlink.

A thin edge over pyroute2 in the words of this room. Knows no topology.
"""

import socket
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from loadgen.netns import Netns, entered

VXLAN_PORT = 4789
VXLAN_HEADERS_BYTES = 50
"""What VXLAN adds to a packet: an outer IP and UDP header, its own, and the inner Ethernet header."""
_BURST_BYTES = 128 * 1024
"""A token bucket's depth: more than the largest packet that segmentation offload hands over in one piece."""
_QUEUE_MS = 50
"""What may wait for a token bucket before it drops."""


class Stack(Netns):
    """A new network namespace with its loopback up. A context manager.

    Links are named as in that namespace. Every method may raise OSError or pyroute2's NetlinkError.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        with ExitStack() as made:
            made.callback(super().close)
            with entered(self.descriptor):
                self.kernel = made.enter_context(IPRoute(groups=0))
            # The lab dials IPv4; address detection and router solicitation would only be noise on its links.
            self.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1")
            self.set_up("lo")
            made.pop_all()

    def close(self) -> None:
        """Let go of the namespace (see Netns.close)."""
        self.kernel.close()
        super().close()

    def index(self, link: str) -> int:
        """Return the number of a link."""
        return int(self.kernel.link_lookup(ifname=link)[0])

    def mac(self, link: str) -> str:
        """Return the Ethernet address of a link."""
        return str(self._link(link).get("address"))

    def kind(self, link: str) -> str:
        """Return what kind of link it is: veth, bridge, vxlan, macvlan."""
        return str(self._link(link).get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND"))

    def mtu(self, link: str) -> int:
        """Return the MTU of a link [bytes]."""
        return int(self._link(link).get("mtu"))

    def vxlan(self, link: str) -> tuple[int, int]:
        """Return the number of a VXLAN device and the UDP port it sends to."""
        data = self._link(link).get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA")
        return int(data.get("vxlan_id")), int(data.get("vxlan_port"))

    def received_packets(self, link: str) -> int:
        """Return how many packets a link has received."""
        return int(self._link(link).get("stats64")["rx_packets"])

    def route(self, to: IPv4Address) -> str:
        """Return the link by which packets to an address leave."""
        number = self.kernel.route("get", dst=str(to))[0].get("oif")
        return str(self.kernel.link("get", index=number)[0].get("ifname"))

    def addresses(self) -> set[str]:
        """Return the IPv4 addresses of all links."""
        return {str(address.get("address")) for address in self.kernel.addr("dump", family=socket.AF_INET)}

    def queue(self, link: str) -> tuple[str, int | None]:
        """Return what queues packets that leave by a link, and how fast it lets them go [bit/s]."""
        queue = next(
            q for q in self.kernel.tc("dump", index=self.index(link)) if q["index"] == self.index(link)
        )
        kind = str(queue.get("kind"))
        if kind != "tbf":
            return kind, None
        return kind, int(queue.get_nested("TCA_OPTIONS", "TCA_TBF_PARMS")["rate"]) * 8

    def set_up(self, link: str) -> None:
        """Set a link up."""
        self.kernel.link("set", index=self.index(link), state="up")

    def add_cable(self, link: str, peer: "Stack", peer_link: str, *, mtu: int) -> None:
        """Add a veth from here to another stack, both ends up."""
        far = {"ifname": peer_link, "net_ns_fd": peer.descriptor, "mtu": mtu}
        self.kernel.link("add", ifname=link, kind="veth", mtu=mtu, peer=far)
        self.set_up(link)
        peer.set_up(peer_link)

    def add_bridge(self, link: str, *, mtu: int) -> None:
        """Add a bridge, up."""
        self.kernel.link("add", ifname=link, kind="bridge", mtu=mtu)
        self.set_up(link)

    def join(self, link: str, bridge: str) -> None:
        """Make a link a port of a bridge."""
        self.kernel.link("set", index=self.index(link), master=self.index(bridge))

    def add_vxlan(self, link: str, *, number: int, over: str, local: IPv4Address, mtu: int) -> None:
        """Add a VXLAN device over another link, up, that learns nothing by itself."""
        self.kernel.link(
            "add",
            ifname=link,
            kind="vxlan",
            vxlan_id=number,
            vxlan_link=self.index(over),
            vxlan_local=str(local),
            vxlan_port=VXLAN_PORT,
            vxlan_learning=0,
            mtu=mtu,
        )
        self.set_up(link)

    def add_vxlan_peer(self, link: str, *, inner: IPv4Address, mac: str, outer: IPv4Address) -> None:
        """Tell a VXLAN device where the device with this address and MAC is: on the node at `outer`."""
        index = self.index(link)
        self.kernel.neigh("add", ifindex=index, dst=str(inner), lladdr=mac, state="permanent")
        self.kernel.fdb("add", ifindex=index, lladdr=mac, dst=str(outer))

    def add_macvlan(self, parent: str, into: "Stack", link: str, *, mtu: int) -> None:
        """Add a macvlan of `parent` in bridge mode to another stack, up."""
        self.kernel.link(
            "add",
            ifname=link,
            kind="macvlan",
            macvlan_mode="bridge",
            link=self.index(parent),
            net_ns_fd=into.descriptor,
            mtu=mtu,
        )
        into.set_up(link)

    def add_address(self, link: str, address: IPv4Interface) -> None:
        """Give a link an address; what else is on its network is on that link."""
        self.kernel.addr(
            "add", index=self.index(link), address=str(address.ip), prefixlen=address.network.prefixlen
        )

    def add_route(
        self, to: IPv4Network, link: str, *, via: IPv4Address | None = None, on_link: bool = False
    ) -> None:
        """Add a route through a link: to the neighbours there, or via one of them.

        `on_link` says that `via` is a neighbour although no route says so.
        """
        destination = {"dst": str(to), "oif": self.index(link)}
        if via is None:
            self.kernel.route("add", scope="link", **destination)
        else:
            self.kernel.route("add", gateway=str(via), flags=["onlink"] if on_link else [], **destination)

    def limit_rate(self, link: str, rate_bps: int) -> None:
        """Let a link send no more than `rate_bps` [bit/s], headers included."""
        self.kernel.tc(
            "add",
            "tbf",
            index=self.index(link),
            handle="1:",
            rate=rate_bps // 8,
            burst=_BURST_BYTES,
            latency=f"{_QUEUE_MS}ms",
        )

    def set_sysctl(self, name: str, value: str) -> bool:
        """Set /proc/sys/`name` of this namespace; return whether its kernel has that switch."""
        with entered(self.descriptor):
            file = Path("/proc/sys") / name
            if not file.exists():
                return False
            file.write_text(value, encoding="ascii")
            return True

    def _link(self, link: str) -> Any:
        return self.kernel.link("get", index=self.index(link))[0]
