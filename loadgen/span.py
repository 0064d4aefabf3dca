"""A path of the lab with the namespaces that it spans, and what the kernel says of it.

Every fact is read back from the kernel when it is asked for; nothing here remembers what was built.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from loadgen.facts import Fact
from loadgen.nat import count_services
from loadgen.nfnetlink import Nfnetlink
from loadgen.node import NIC, Node, Place
from loadgen.paths import Path
from loadgen.stack import Stack


@dataclass(frozen=True, slots=True)
class Span:
    """A path from `client`, which is on `node` or is it, to `server`."""

    path: Path
    client: Place
    node: Node
    server: Place

    def facts(self) -> Iterator[Fact]:
        """Yield what the kernel says of the path. Raises LabError, OSError or pyroute2's NetlinkError."""
        client, node, address = self.client.stack, self.node.stack, self.server.address
        nic = client.route(address)
        kind = client.kind(nic)
        yield self._fact("client NIC", kind, f"RTM_GETLINK {nic}", client)
        yield self._fact(
            "MTU", f"{client.mtu(nic)} bytes", f"RTM_GETROUTE {address}, RTM_GETLINK {nic}", client
        )
        # Frames of a macvlan pass the node's NIC and nothing else of the node.
        forwarder = client if kind == "macvlan" else node
        yield self._encapsulation(forwarder)
        yield self._queue("client queue", nic, client)
        yield self._queue("node queue", NIC, node)
        yield from self._nat()

    def _encapsulation(self, forwarder: Stack) -> Fact:
        outgoing = forwarder.route(self.server.address)
        value = "none"
        if forwarder.kind(outgoing) == "vxlan":
            number, port = forwarder.vxlan(outgoing)
            value = f"VXLAN {number}, UDP port {port}"
        source = f"RTM_GETROUTE {self.server.address}, RTM_GETLINK {outgoing}"
        return self._fact("encapsulation", value, source, forwarder)

    def _queue(self, name: str, link: str, stack: Stack) -> Fact:
        kind, rate_bps = stack.queue(link)
        value = kind if rate_bps is None else f"{kind}, {rate_bps / 1e6:g} Mbit/s"
        return self._fact(name, value, f"RTM_GETQDISC {link}", stack)

    def _nat(self) -> Iterator[Fact]:
        dialled = urlsplit(self.path.url).hostname
        if dialled in self.server.stack.addresses():
            yield self._fact("NAT", "none", f"RTM_GETADDR {dialled}", self.server.stack)
            return
        with Nfnetlink(self.node.stack.file) as kernel:
            services = count_services(self.node.form, kernel)
        source = "NFT_MSG_GETSETELEM" if self.node.form == "nftables" else "NFT_MSG_GETRULE"
        yield self._fact("NAT", f"DNAT, kube-proxy's {self.node.form} form", source, self.node.stack)
        yield self._fact("Services in the tables", str(services), source, self.node.stack)

    def _fact(self, name: str, value: str, source: str, stack: Stack) -> Fact:
        return Fact(name, value, f"{source} in {stack.name}", path=self.path.name)
