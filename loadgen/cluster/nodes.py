"""Which node the servers are pinned to, and which one the clients. Pure.

Both must take the pods that are pinned to them; a node that cannot is refused with the reason.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loadgen.errors import ClusterError

Plain = Mapping[str, Any]
COUNTED = {"cpu", "memory", "ephemeral-storage", "pods"}
"""Resources that the scheduler weighs; all others a node has or has not."""


def choose_nodes(
    nodes: Sequence[Plain], servers: Plain, clients: Plain, *, server: str | None, client: str | None
) -> tuple[Plain, Plain]:
    """Return the node of the servers and that of the clients, whose pods have these specs; `server` and
    `client` are names that must be kept to. Raises ClusterError."""
    at_servers = _choose(nodes, servers, server, "--server-node", other=client)
    return at_servers, _choose(nodes, clients, client, "--client-node", other=name_of(at_servers))


def _choose(
    nodes: Sequence[Plain], pod: Plain, wanted: str | None, option: str, *, other: str | None
) -> Plain:
    """Return a node for `pod`, the first by name where none is wanted, and never the `other` end's."""
    unfit = {}
    for node in sorted(nodes, key=name_of):
        name = name_of(node)
        if wanted not in {None, name}:
            continue
        reasons = ["the other end is there, and within a node there is no network"] if name == other else []
        reasons += _hindrances(node, pod)
        if not reasons:
            return node
        unfit[name] = ", ".join(reasons)
    if wanted is not None and not unfit:
        raise ClusterError(f"there is no node {wanted}; there are {', '.join(sorted(map(name_of, nodes)))}")
    why = "; ".join(f"{name}: {reasons}" for name, reasons in unfit.items()) or "the cluster has no nodes"
    raise ClusterError(f"no node for {option}: {why}. Two nodes are needed, one for each end")


def _hindrances(node: Plain, pod: Plain) -> Iterator[str]:
    """Yield why a node cannot take a pod of this spec."""
    conditions = {c["type"]: c["status"] for c in node["status"].get("conditions", ())}
    if conditions.get("Ready") != "True":
        yield "not ready"
    if node["spec"].get("unschedulable"):
        yield "cordoned"
    for taint in node["spec"].get("taints", ()):
        cordon = taint["key"] == "node.kubernetes.io/unschedulable"
        if taint["effect"] != "PreferNoSchedule" and not cordon and not _tolerated(taint, pod):
            yield f"tainted with {taint['key']}:{taint['effect']}"
    for container in pod["containers"]:
        for resource, amount in container.get("resources", {}).get("limits", {}).items():
            has = node["status"].get("allocatable", {}).get(resource, "0")
            if resource not in COUNTED and int(has) < int(amount):
                yield f"has {has} {resource}, not {amount}"


def _tolerated(taint: Plain, pod: Plain) -> bool:
    return any(
        toleration.get("key") in {None, taint["key"]}
        and toleration.get("effect") in {None, taint["effect"]}
        and (toleration.get("operator") == "Exists" or toleration.get("value") == taint.get("value"))
        for toleration in pod.get("tolerations", ())
    )


def name_of(node: Plain) -> str:
    """Return the name of a node."""
    return str(node["metadata"]["name"])


def hostname_of(node: Plain) -> str:
    """Return the label by which pods are pinned to a node, which need not be its name."""
    return str(node["metadata"]["labels"]["kubernetes.io/hostname"])


def address_of(node: Plain) -> str:
    """Return the address that NodePorts of a node are dialled at. Raises ClusterError."""
    for address in node["status"]["addresses"]:
        if address["type"] == "InternalIP":
            return str(address["address"])
    raise ClusterError(f"node {name_of(node)} has no InternalIP")
