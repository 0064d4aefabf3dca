"""The lab: nodes and pods as network namespaces of this machine, and the paths asked for between them.

Clients are on `node-a` and servers on `node-b`, but for the same-node way `bridge`. Every node knows Services
in one form: `node-c` takes `node-a`'s place where that is kube-proxy's iptables form. All DNAT is done on the
client's node. Build it inside the sandbox (`loadgen.sandbox`): it ends with its process, in whatever way.
"""

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path as File
from types import TracebackType
from typing import Self

from pyroute2.netlink.exceptions import NetlinkError

from loadgen.cni import Plugins
from loadgen.errors import LabError
from loadgen.facts import Fact
from loadgen.nat import Form, ruleset
from loadgen.nfnetlink import Nfnetlink
from loadgen.node import Node, Place, Underlay
from loadgen.paths import Path, open_socket
from loadgen.services import Service, other_services
from loadgen.span import Span
from loadgen.topology import (
    PLUGINS,
    PORT,
    SHAPED,
    WAYS,
    WAYS_TO_SERVICES,
    Absence,
    LabSettings,
    Target,
    Way,
    absences,
    cluster_ip,
    form_of,
    node_port,
    split_name,
)

_BACKLOG = 1024
"""Connections that may wait for the server in each namespace."""
_SERVER_NODE = "node-b"
_CLIENT_NODES: dict[Form, str] = {"nftables": "node-a", "iptables": "node-c"}
_USUAL_FORM: Form = "nftables"
_FIRST_SHAPED_NODE = "node-d"


@dataclass(frozen=True, slots=True)
class _Request:
    """A path to lay; what its client may send [bit/s], None: what its node can."""

    name: str
    way: Way
    target: Target
    rate_bps: int | None = None

    @property
    def form(self) -> Form | None:
        return form_of(self.target)


class Lab:
    """A lab, from entering it to leaving it. Entering raises LabError where it cannot be built here."""

    def __init__(self, settings: LabSettings) -> None:
        self.settings = settings
        self.paths: tuple[Path, ...] = ()
        """In the order asked for; shaped controls last."""
        self.absent: tuple[Absence, ...] = ()
        """What is no path here: by construction, or for want of something in this kernel."""
        self.listeners: tuple[socket.socket, ...] = ()
        """Listening TCP sockets for one server: one for each namespace in which somebody is served."""
        self._lifetime = ExitStack()
        self._spans: list[Span] = []
        self._plugins: Plugins | None = None
        self._nodes: dict[str, Node] = {}
        self._clients: dict[tuple[Node, Way], Place] = {}
        self._servers: dict[tuple[Node, Way], Place] = {}

    def __enter__(self) -> Self:
        with ExitStack() as lifetime:
            try:
                self._build(lifetime)
            except (NetlinkError, OSError) as error:
                raise LabError(f"the lab cannot be built on this machine: {error}") from error
            self._lifetime = lifetime.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lifetime.close()

    def facts(self) -> list[Fact]:
        """Read back from the kernel what the paths are made of. Raises LabError."""
        try:
            return [*self._plugin_facts(), *(fact for span in self._spans for fact in span.facts())]
        except (NetlinkError, OSError) as error:
            raise LabError(f"the kernel does not say what the lab is made of: {error}") from error

    def _plugin_facts(self) -> Iterator[Fact]:
        if self._plugins:
            for plugin in self._plugins.names:
                said = self._plugins.describe(plugin)
                yield Fact(f"CNI plugin {plugin}", said, f"{self._plugins.folder / plugin} --version")

    def _build(self, lifetime: ExitStack) -> None:
        self._underlay = Underlay(lifetime, mtu=self.settings.mtu)
        if self.settings.cni_bin:
            needed = {PLUGINS[request.way] for request in self._requests() if request.way != "host"}
            self._plugins = Plugins(File(self.settings.cni_bin), sorted(needed), lifetime)
        absent = list(absences())
        for request in self._requests():
            try:
                self._spans.append(self._lay(request))
            except _UnavailableError as error:
                absent.append(Absence(request.name, str(error)))
        for way in WAYS:
            for one, other in permutations(self._nodes.values(), 2):
                one.reach(way, other)
        for node in self._nodes.values():
            self._proxy(node)
        self.listeners = tuple(lifetime.enter_context(_listen(place)) for place in self._servers.values())
        self.paths = tuple(span.path for span in self._spans)
        self.absent = tuple(absent)

    def _requests(self) -> Iterator[_Request]:
        for name in self.settings.paths:
            yield _Request(name, *split_name(name))
        for name, rate_bps in self.settings.shaped_bps.items():
            yield _Request(name + SHAPED, *split_name(name), rate_bps=rate_bps)

    def _lay(self, request: _Request) -> Span:
        """Make both ends of a path. Raises _UnavailableError where this kernel has not what it takes."""
        way = request.way
        node = self._client_node(request)
        if way == "bridge" and request.form and not node.filters_bridges:
            raise _UnavailableError("this kernel has no br_netfilter; type: sudo modprobe br_netfilter")
        try:
            client = self._client(request, node)
            server = self._server(node if way == "bridge" else self._node(_SERVER_NODE, _USUAL_FORM), way)
        except NetlinkError as error:
            if error.code != errno.EOPNOTSUPP:
                raise
            raise _UnavailableError(f"this kernel has no {way}; type: sudo modprobe {way}") from error
        address, port = server.address, PORT
        if request.target.startswith("clusterip"):
            address = cluster_ip(way)
        if request.target.startswith("nodeport"):
            address, port = node.address, node_port(way)
        path = Path(
            name=request.name,
            way=way,
            target=request.target,
            url=f"http://{address}:{port}",
            netns=client.stack.file,
            server_netns=server.stack.file,
        )
        return Span(path, client, node, server)

    def _client_node(self, request: _Request) -> Node:
        """Return the node of the client; a shaped host is a node of its own."""
        form = request.form or _USUAL_FORM
        if request.way != "host" or request.rate_bps is None:
            return self._node(_CLIENT_NODES[form], form)
        taken = [name for name in self._nodes if name >= _FIRST_SHAPED_NODE]
        name = _FIRST_SHAPED_NODE[:-1] + chr(ord(_FIRST_SHAPED_NODE[-1]) + len(taken))
        return self._node(name, form, request.rate_bps)

    def _node(self, name: str, form: Form, rate_bps: int | None = None) -> Node:
        if name not in self._nodes:
            limits = [limit for limit in (rate_bps, self.settings.line_rate_bps) if limit is not None]
            number = ord(name[-1]) - ord("a")
            self._nodes[name] = Node(
                name,
                number,
                self._underlay,
                form,
                rate_bps=min(limits, default=None),
                plugins=self._plugins,
            )
        return self._nodes[name]

    def _client(self, request: _Request, node: Node) -> Place:
        """Return where the client of a path is: one place for all of a node and way that are not shaped."""
        if request.way == "host":
            return node.host
        if request.rate_bps is not None:
            place = node.add_pod(request.way, f"shaped client of {request.way} on {node.name}")
            place.stack.limit_rate(place.link, request.rate_bps)
            return place
        key = node, request.way
        if key not in self._clients:
            self._clients[key] = node.add_pod(request.way, f"client of {request.way} on {node.name}")
        return self._clients[key]

    def _server(self, node: Node, way: Way) -> Place:
        key = node, way
        if key not in self._servers:
            name = f"server of {way} on {node.name}"
            self._servers[key] = node.host if way == "host" else node.add_pod(way, name)
        return self._servers[key]

    def _proxy(self, node: Node) -> None:
        """Make the Services known to a node, amid others: half of the others come before them."""
        dialled = [
            Service(f"lab/{way}", cluster_ip(way), PORT, place.address, PORT, node_port(way))
            for (server_node, way), place in self._servers.items()
            if way in WAYS_TO_SERVICES and (server_node is node or way != "bridge")
        ]
        others = list(other_services(self.settings.other_services))
        half = len(others) // 2
        with Nfnetlink(node.stack.file) as kernel:
            kernel.apply(ruleset(node.form, [*others[:half], *dialled, *others[half:]], node.address))


class _UnavailableError(Exception):
    """This kernel lacks what a path needs; the message says what."""


def _listen(place: Place) -> socket.socket:
    listener = open_socket(place.stack.file, socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", PORT))  # noqa: S104 - in a namespace that nobody else can reach
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
