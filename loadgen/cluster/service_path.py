"""Who serves Services on the nodes, from settings; a probe on each node says what runs there. Pure."""

from collections.abc import Iterator

import yaml

from loadgen.cluster.inventory import Inventory, place_of
from loadgen.facts import Fact


def detect_service_path(inventory: Inventory) -> Iterator[Fact]:
    """Yield kube-proxy's mode by its ConfigMap, for each node, and what takes its place."""
    proxies = [
        daemon_set for daemon_set, container in inventory.containers() if container["name"] == "kube-proxy"
    ]
    running = [proxy for proxy in proxies if proxy.get("status", {}).get("desiredNumberScheduled", 1)]
    text = inventory.config_maps.get("kube-proxy", {}).get("config.conf")
    for end, _ in inventory.nodes:
        if proxies and not running:
            source = f"DaemonSet {place_of(proxies[0])}, which wants no node"
            yield Fact(f"kube-proxy, {end} node", "none", source, "inferred")
        elif running and text is not None:
            mode = (yaml.safe_load(text) or {}).get("mode")
            source = "ConfigMap kube-system/kube-proxy, mode" + ("" if mode else " empty: its default")
            yield Fact(f"kube-proxy, {end} node", mode or "iptables", source, "inferred")
    yield from _cilium(inventory)
    yield from _calico(inventory)


def _cilium(inventory: Inventory) -> Iterator[Fact]:
    settings = inventory.config_maps.get("cilium-config", {})
    if "kube-proxy-replacement" in settings:
        # `strict`, `partial`, `probe` and `disabled` were its words before 1.14.
        value = settings["kube-proxy-replacement"]
        words = {
            "true": "by Cilium",
            "strict": "by Cilium",
            "false": "left to kube-proxy",
            "disabled": "left to kube-proxy",
        }
        source = "ConfigMap kube-system/cilium-config, kube-proxy-replacement"
        yield Fact("Services", words.get(value, f"by Cilium, {value}"), source, "inferred")


def _calico(inventory: Inventory) -> Iterator[Fact]:
    for settings in inventory.custom.get("FelixConfiguration", ()):
        if settings["metadata"]["name"] == "default" and settings["spec"].get("bpfEnabled"):
            yield Fact(
                "Services", "by Calico's eBPF programs", "FelixConfiguration default, bpfEnabled", "inferred"
            )
