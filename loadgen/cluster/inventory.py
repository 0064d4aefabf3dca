"""What is read of a cluster to find out what its network is made of; detectors look at nothing else.

What a cluster has not, or does not let us read, is absent: detectors say less then, and never guess.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from loadgen.cluster.apiserver import ApiServer
from loadgen.errors import ClusterError

Plain = Mapping[str, Any]

SYSTEM = "kube-system"
CONFIG_MAPS = (
    (SYSTEM, "cilium-config"),
    (SYSTEM, "kube-proxy"),
    (SYSTEM, "antrea-config"),
    (SYSTEM, "kube-flannel-cfg"),
    ("kube-flannel", "kube-flannel-cfg"),
)
CUSTOM = (
    ("operator.tigera.io/v1", "Installation"),
    ("crd.projectcalico.org/v1", "IPPool"),
    ("crd.projectcalico.org/v1", "FelixConfiguration"),
    ("kubeovn.io/v1", "Subnet"),
)
"""Custom resources that are read, where there are any."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """Objects of a cluster, as its API server gives them."""

    client_node: Plain
    server_node: Plain
    server_pod: Plain
    """Of the way that is measured."""
    groups: frozenset[str] = frozenset()
    """API groups that are served."""
    daemon_sets: tuple[Plain, ...] = ()
    config_maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """What is in those of CONFIG_MAPS that there are, by name."""
    custom: Mapping[str, tuple[Plain, ...]] = field(default_factory=dict)
    """The objects of CUSTOM, by kind."""

    @property
    def nodes(self) -> Iterator[tuple[str, Plain]]:
        """Yield the nodes of both ends, by the name of the end."""
        yield "client", self.client_node
        yield "server", self.server_node

    def containers(self) -> Iterator[tuple[Plain, Plain]]:
        """Yield every container of every DaemonSet."""
        for daemon_set in self.daemon_sets:
            for container in daemon_set["spec"]["template"]["spec"]["containers"]:
                yield daemon_set, container


def place_of(thing: Plain) -> str:
    """Return where an object is, for people."""
    namespace = thing["metadata"].get("namespace")
    name = thing["metadata"]["name"]
    return f"{namespace}/{name}" if namespace else str(name)


def take_inventory(
    api: ApiServer, *, client_node: Plain, server_node: Plain, server_pod: Plain
) -> tuple[Inventory, tuple[str, ...]]:
    """Read a cluster; return also what it does not let us read."""
    denied: list[str] = []

    def items(api_version: str, kind: str) -> tuple[Plain, ...]:
        try:
            return tuple(api.items(api_version, kind))
        except ClusterError as error:
            denied.append(f"{kind}: {error}")
            return ()

    inventory = Inventory(
        client_node=client_node,
        server_node=server_node,
        server_pod=server_pod,
        groups=api.groups(),
        daemon_sets=items("apps/v1", "DaemonSet"),
        config_maps=dict(_config_maps(api, denied)),
        custom={kind: items(api_version, kind) for api_version, kind in CUSTOM},
    )
    return inventory, tuple(denied)


def _config_maps(api: ApiServer, denied: list[str]) -> Iterable[tuple[str, Mapping[str, str]]]:
    for namespace, name in CONFIG_MAPS:
        try:
            found = api.find("v1", "ConfigMap", name, namespace)
        except ClusterError as error:
            denied.append(f"ConfigMap {namespace}/{name}: {error}")
        else:
            if found:
                yield name, found.get("data", {})
