"""What a run must be allowed to do in a cluster: asked before anything is made, and written as a role."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from loadgen.cluster.apiserver import ApiServer, Manifest
from loadgen.cluster.inventory import CONFIG_MAPS, CUSTOM
from loadgen.cluster.overlay import Overlay

ROLE = "fiveways-bench"
MAKE = ("get", "list", "create", "patch", "delete")
"""What is done with objects that are applied."""


@dataclass(frozen=True, slots=True, order=True)
class Access:
    """One thing to be allowed to do."""

    group: str
    resource: str
    """With its subresource: `pods/log`."""
    verb: str
    namespace: str = ""
    """Empty: in the whole cluster."""

    def __str__(self) -> str:
        kind = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {kind}" + (f" in {self.namespace}" if self.namespace else "")


def needed(api: ApiServer, overlays: Iterable[Overlay], made: Iterable[str]) -> Iterator[Access]:
    """Yield what a run with these overlays must be allowed to do; `made` are the namespaces that it makes."""
    made = set(made)
    yield Access("", "nodes", "list")
    for overlay in overlays:
        kinds = {(manifest["apiVersion"], manifest["kind"]) for manifest in overlay.manifests}
        for api_version, name in sorted(kinds | {("v1", "ConfigMap"), ("batch/v1", "Job")}):
            kind = api.known(api_version, name)
            if name == "Namespace":
                verbs = MAKE if overlay.namespace in made else ("get",)
                yield from (Access("", "namespaces", verb) for verb in verbs if verb != "list")
            else:
                place = overlay.namespace if kind.namespaced else ""
                yield from (Access(kind.group, kind.resource, verb, place) for verb in MAKE)
        yield Access("", "pods", "get", overlay.namespace)
        yield Access("", "pods", "list", overlay.namespace)
        yield Access("", "pods/log", "get", overlay.namespace)
        yield Access("", "events", "list", overlay.namespace)


def wanted(api: ApiServer) -> Iterator[Access]:
    """Yield what is read to find out what the network is made of, and goes without where it is forbidden."""
    yield Access("apps", "daemonsets", "list")
    for namespace in dict.fromkeys(namespace for namespace, _ in CONFIG_MAPS):
        yield Access("", "configmaps", "get", namespace)
    for api_version, name in CUSTOM:
        kind = api.kind(api_version, name)
        if kind:
            yield Access(kind.group, kind.resource, "list")


def missing(api: ApiServer, accesses: Iterable[Access]) -> list[Access]:
    """Return what the cluster says that it would not allow (SelfSubjectAccessReview)."""
    return [access for access in dict.fromkeys(accesses) if not _allowed(api, access)]


def _allowed(api: ApiServer, access: Access) -> bool:
    resource, _, subresource = access.resource.partition("/")
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {
            "resourceAttributes": {
                "group": access.group,
                "resource": resource,
                "subresource": subresource,
                "verb": access.verb,
                "namespace": access.namespace,
            }
        },
    }
    return bool(api.create(review)["status"]["allowed"])


def cluster_role(accesses: Iterable[Access]) -> Manifest:
    """Return a ClusterRole that allows all of them, in whichever namespaces it is bound."""
    verbs: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for access in accesses:
        verbs[access.group, access.resource].add(access.verb)
    rules: defaultdict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (group, resource), of_resource in sorted(verbs.items()):
        rules[group, tuple(sorted(of_resource))].append(resource)
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": ROLE, "labels": {"app.kubernetes.io/part-of": "fiveways"}},
        "rules": [
            {"apiGroups": [group], "resources": resources, "verbs": list(of_rule)}
            for (group, of_rule), resources in rules.items()
        ],
    }
