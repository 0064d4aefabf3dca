"""The stage of a run: its overlays applied, its servers ready, and nothing of it left behind.

Everything it makes carries one instance label. Namespaces that were there are used and stay; what is in them
and not ours is never touched. Knows no plans.
"""

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from loadgen.cluster.apiserver import ApiServer, Manifest, pauses_s
from loadgen.cluster.nodes import address_of, hostname_of
from loadgen.cluster.overlay import INSTANCE, Overlay, pinned
from loadgen.cluster.targets import paths_of
from loadgen.cluster.waiting import Say, wait_for_pods
from loadgen.cluster.words import is_ready
from loadgen.errors import ClusterError
from loadgen.paths import Path

Plain = Mapping[str, Any]

PREFIX = "bench-"
"""How instances of this program begin."""
CLEAR_S = 240.0
"""How long everything may take to go: pods drain first."""
LEFTOVERS = (
    ("batch/v1", "Job"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("v1", "Pod"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("v1", "ServiceAccount"),
    ("policy/v1", "PodDisruptionBudget"),
)
"""Kinds that are looked through in the end, besides those that were applied."""


@dataclass(frozen=True, slots=True)
class Actor:
    """One end's pods at one attachment: an overlay, and the server's pod once it is ready."""

    attach: str
    overlay: Overlay
    server: Plain


@dataclass(frozen=True, slots=True)
class Stage:
    """What a run is played on."""

    api: ApiServer
    actors: Mapping[str, Actor]
    """By attachment; that of the way last."""
    server_node: Plain
    client_node: Plain
    wait_s: float
    say: Say

    @property
    def client_hostname(self) -> str:
        """What the clients are pinned to."""
        return hostname_of(self.client_node)

    @property
    def main(self) -> Actor:
        """The way's actor, among whose pods is the master."""
        return tuple(self.actors.values())[-1]

    def paths(self) -> tuple[Path, ...]:
        """Return what can be dialled from the clients' node."""
        return tuple(path for actor in self.actors.values() for path in self._paths_of(actor))

    def _paths_of(self, actor: Actor) -> tuple[Path, ...]:
        services = {
            service["metadata"]["name"]: service
            for service in self.api.items("v1", "Service", actor.overlay.namespace)
        }
        return paths_of(
            actor.overlay.way,
            actor.overlay.targets,
            attach=actor.attach,
            server=actor.server,
            services=services,
            client_address=address_of(self.client_node),
        )


@contextmanager
def staged(
    api: ApiServer,
    overlays: Mapping[str, Overlay],
    *,
    instance: str,
    nodes: tuple[Plain, Plain],
    wait_s: float,
    keep: bool,
    say: Say,
) -> Iterator[Stage]:
    """Apply overlays, by attachment, wait for their servers, and take everything away again in the end.

    Raises ClusterError also where something stays behind.
    """
    owned = own_namespaces(api, overlays.values())
    _refuse_what_is_there(api, overlays.values(), owned, instance)
    try:
        server_node, client_node = nodes
        for overlay in overlays.values():
            for manifest in _pinned_servers(overlay.lasting, hostname_of(server_node)):
                if manifest["kind"] != "Namespace" or overlay.namespace in owned:
                    api.apply(manifest)
        actors = {
            attach: Actor(attach, overlay, _ready_server(api, overlay, instance, wait_s=wait_s, say=say))
            for attach, overlay in overlays.items()
        }
        yield Stage(api, actors, server_node, client_node, wait_s, say)
    finally:
        if keep:
            how = _how_to_delete(overlays.values(), owned, instance)
            say(f"kept, with the label {INSTANCE}={instance}: {how}")
        else:
            _clear(api, overlays.values(), owned, instance, say)


def own_namespaces(api: ApiServer, overlays: Collection[Overlay]) -> frozenset[str]:
    """Return the namespaces that this run makes. Raises ClusterError where another run's is there."""
    owned = set()
    for overlay in overlays:
        found = api.find("v1", "Namespace", overlay.namespace)
        if found is None:
            owned.add(overlay.namespace)
            continue
        of = found["metadata"].get("labels", {}).get(INSTANCE, "")
        if of.startswith(PREFIX) or "deletionTimestamp" in found["metadata"]:
            raise ClusterError(
                f"namespace {overlay.namespace} is that of another run ({of or 'it is being deleted'}), which"
                f" goes on or was kept: `kubectl delete namespace {overlay.namespace}`, or choose another"
                " with --namespace"
            )
    return frozenset(owned)


def _refuse_what_is_there(
    api: ApiServer, overlays: Collection[Overlay], owned: frozenset[str], instance: str
) -> None:
    """Raise ClusterError where an object would be changed that is not ours."""
    for overlay in overlays:
        for manifest in overlay.manifests:
            if manifest["metadata"].get("namespace") in owned or manifest["kind"] == "Namespace":
                continue
            found = api.find_same(manifest)
            if found and found["metadata"].get("labels", {}).get(INSTANCE) != instance:
                raise ClusterError(
                    f"{manifest['kind']} {manifest['metadata']['name']} is in namespace {overlay.namespace}"
                    " already, and is not ours to change: choose another with --namespace"
                )


def _pinned_servers(manifests: Iterator[Manifest], hostname: str) -> Iterator[Manifest]:
    for manifest in manifests:
        yield pinned(manifest, hostname) if manifest["kind"] == "Deployment" else manifest


def _ready_server(api: ApiServer, overlay: Overlay, instance: str, *, wait_s: float, say: Say) -> Plain:
    maker = overlay.one("Deployment", "fiveways")
    labels = f"app.kubernetes.io/name=fiveways,{INSTANCE}={instance}"
    pods = wait_for_pods(api, maker, labels=labels, count=1, until=is_ready, wait_s=wait_s, say=say)
    return pods[0]


def _clear(
    api: ApiServer, overlays: Collection[Overlay], owned: frozenset[str], instance: str, say: Say
) -> None:
    """Delete all that carries the instance label, and return once it is gone. Raises ClusterError."""
    say("taking everything away again")
    try:
        for overlay in overlays:
            if overlay.namespace in owned:
                api.delete({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": overlay.namespace}})
            for thing in _carriers(api, overlay, instance, skip_namespaced=overlay.namespace in owned):
                api.delete(thing)
        give_up_s, pauses = time.monotonic() + CLEAR_S, pauses_s()
        while left := left_behind(api, overlays, owned, instance):
            _check_time(give_up_s, left)
            time.sleep(next(pauses))
    except (ClusterError, KeyboardInterrupt) as error:
        how = _how_to_delete(overlays, owned, instance)
        raise ClusterError(
            f"not everything was taken away again ({error or 'interrupted'}): {how}"
        ) from error


def _check_time(give_up_s: float, left: list[str]) -> None:
    if time.monotonic() >= give_up_s:
        raise ClusterError(f"after {CLEAR_S:g} s there still is {', '.join(left)}")


def left_behind(
    api: ApiServer, overlays: Collection[Overlay], owned: frozenset[str], instance: str
) -> list[str]:
    """Return what still is in the cluster of this run, for people."""
    left = [f"Namespace {name}" for name in sorted(owned) if api.find("v1", "Namespace", name)]
    for overlay in overlays:
        things = _carriers(api, overlay, instance)
        left += [f"{thing['kind']} {overlay.namespace}/{thing['metadata']['name']}" for thing in things]
    return left


def _carriers(
    api: ApiServer, overlay: Overlay, instance: str, *, skip_namespaced: bool = False
) -> Iterator[Manifest]:
    """Yield everything of an overlay's namespace, and of the cluster, that carries the instance label."""
    applied = {(manifest["apiVersion"], manifest["kind"]) for manifest in overlay.manifests}
    for api_version, name in sorted(applied | set(LEFTOVERS)):
        kind = api.kind(api_version, name)
        if kind is None or name == "Namespace" or (kind.namespaced and skip_namespaced):
            continue
        namespace = overlay.namespace if kind.namespaced else None
        yield from api.items(api_version, name, namespace, labels=f"{INSTANCE}={instance}")


def _how_to_delete(overlays: Collection[Overlay], owned: frozenset[str], instance: str) -> str:
    commands = [f"kubectl delete namespace {' '.join(sorted(owned))}"] if owned else []
    for overlay in overlays:
        if overlay.namespace not in owned:
            kinds = sorted({m["kind"].lower() for m in overlay.manifests if m["kind"] != "Namespace"})
            commands.append(
                f"kubectl -n {overlay.namespace} delete {','.join(kinds)} -l {INSTANCE}={instance}"
            )
    return "`" + " && ".join(commands) + "`"
