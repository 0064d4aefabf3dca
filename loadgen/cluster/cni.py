"""Which CNI a cluster has, from what runs in it. Pure.

What runs is read from DaemonSets and their images; an API group alone says that something was installed once.
A cluster may have several: all are told, and where they are no known company, as a conflict.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from loadgen.cluster.inventory import Inventory, place_of
from loadgen.facts import Fact

CNI = "CNI"


@dataclass(frozen=True, slots=True)
class _Product:
    """A CNI, and how it is known."""

    name: str
    container: str
    """A regular expression of the agent's container."""
    group: str
    """The API group of its objects; empty where it has none of its own."""


_PRODUCTS = (
    _Product("Calico", "calico-node", "crd.projectcalico.org"),
    _Product("Cilium", "cilium-agent", "cilium.io"),
    _Product("Antrea", "antrea-agent", "crd.antrea.io"),
    _Product("kube-router", "kube-router", ""),
    _Product("Kube-OVN", "cni-server", "kubeovn.io"),
    _Product("OVN-Kubernetes", "ovnkube-(node|controller)|ovn-controller", "k8s.ovn.org"),
    _Product("Flannel", "kube-flannel", ""),
)
_MULTUS = "kube-multus"


def detect_cni(inventory: Inventory) -> Iterator[Fact]:
    """Yield which CNI gives pods their first interface, and what is beside it."""
    running = {product.name: found for product in _PRODUCTS if (found := _running(product, inventory))}
    canal = {"Calico", "Flannel"} <= running.keys()
    chained = inventory.config_maps.get("cilium-config", {}).get("cni-chaining-mode", "none")
    for name, (version, source) in running.items():
        if canal and name in {"Calico", "Flannel"}:
            continue
        if name == "Cilium" and chained != "none" and len(running) > 1:
            mode = f"cilium-config cni-chaining-mode: {chained}"
            yield Fact("CNI chained behind", f"Cilium {version}", f"{source}; {mode}")
            continue
        yield Fact(CNI, f"{name} {version}", source)
    if canal:
        (flannel, flannel_source), (calico, calico_source) = running["Flannel"], running["Calico"]
        words = f"Canal: Flannel {flannel} for the network, Calico {calico} for policies"
        yield Fact(CNI, words, f"{flannel_source}; {calico_source}")
    for product in _PRODUCTS:
        if not running and product.group in inventory.groups:
            yield Fact(CNI, product.name, f"API group {product.group}", "inferred")
    for daemon_set, container in inventory.containers():
        if container["name"] == _MULTUS:
            yield Fact(
                "CNI for second interfaces",
                f"Multus {_tag(container['image'])}",
                _source(place_of(daemon_set)),
            )


def runs(name: str, inventory: Inventory) -> bool:
    """Say whether a CNI of this name runs."""
    return any(product.name == name and _running(product, inventory) for product in _PRODUCTS)


def _running(product: _Product, inventory: Inventory) -> tuple[str, str] | None:
    """Return the version of what runs, and where that is said."""
    for daemon_set, container in inventory.containers():
        named = re.fullmatch(product.container, container["name"])
        scheduled = daemon_set.get("status", {}).get("desiredNumberScheduled", 1)
        if named and scheduled:
            return _tag(container["image"]), _source(place_of(daemon_set))
    return None


def _tag(image: str) -> str:
    """Return the tag of an image; what is there of a digest, where it has no tag."""
    name, _, digest = image.partition("@")
    _, colon, tag = name.rpartition(":")
    return tag if colon and "/" not in tag else digest[:19] or "latest"


def _source(place: str) -> str:
    return f"DaemonSet {place}, its image"
