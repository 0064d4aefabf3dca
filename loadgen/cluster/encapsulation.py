"""What is put around packets between the two nodes of a run, from each CNI's own settings. Pure.

Settings that depend on whether nodes share a subnet are resolved for these two nodes; where they do not say
which subnets nodes are on, the answer is left open. What is configured need not be what runs: settings are
`inferred` unless the CNI itself reports its state.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import yaml

from loadgen.cluster.cni import runs
from loadgen.cluster.inventory import Inventory, place_of
from loadgen.facts import Fact

ENCAPSULATION = "encapsulation between nodes"
_CALICO_ADDRESS = "projectcalico.org/IPv4Address"
_FLANNEL_BACKEND = "flannel.alpha.coreos.com/backend-type"
_OVN_SUBNETS = "k8s.ovn.org/node-subnets"
_KUBE_OVN_SWITCH = "ovn.kubernetes.io/logical_switch"


def detect_encapsulation(inventory: Inventory) -> Iterator[Fact]:
    """Yield what each CNI that runs says it puts around packets between the two nodes."""
    detectors: Mapping[str, Callable[[Inventory], Iterator[Fact]]] = {
        "Calico": calico,
        "Cilium": cilium,
        "Flannel": flannel,
        "Antrea": antrea,
        "kube-router": kube_router,
        "Kube-OVN": kube_ovn,
        "OVN-Kubernetes": ovn_kubernetes,
    }
    # In Canal, Calico keeps policies and Flannel makes the network.
    canal = runs("Calico", inventory) and runs("Flannel", inventory)
    for name, detect in detectors.items():
        if runs(name, inventory) and not (canal and name == "Calico"):
            yield from detect(inventory)


def calico(inventory: Inventory) -> Iterator[Fact]:
    """Yield the data plane, and the encapsulation of the pool that the server's pod has its address from."""
    for installation in inventory.custom.get("Installation", ()):
        computed = installation.get("status", {}).get("computed", {}).get("calicoNetwork", {})
        wanted = installation.get("spec", {}).get("calicoNetwork", {})
        for settings, where, confidence in (
            (computed, "status.computed", "read"),
            (wanted, "spec", "inferred"),
        ):
            plane = settings.get("linuxDataplane")
            if plane:
                source = f"Installation {place_of(installation)}, {where}"
                yield Fact("Calico data plane", plane, source, "read" if confidence == "read" else "inferred")
                break
    address = inventory.server_pod["status"].get("podIP")
    for pool in inventory.custom.get("IPPool", ()):
        if not address or ip_address(address) not in ip_network(pool["spec"]["cidr"]):
            continue
        modes = {
            "VXLAN": pool["spec"].get("vxlanMode", "Never"),
            "IP in IP": pool["spec"].get("ipipMode", "Never"),
        }
        source = f"IPPool {place_of(pool)}"
        used = [(kind, mode) for kind, mode in modes.items() if mode != "Never"]
        if not used:
            yield Fact(ENCAPSULATION, "none", source, "inferred")
        for kind, mode in used:
            if mode == "CrossSubnet":
                yield from _across_subnets(kind, source, _same_calico_subnet(inventory))
            else:
                yield Fact(ENCAPSULATION, kind, source, "inferred")


def _same_calico_subnet(inventory: Inventory) -> bool | None:
    """Say whether both nodes are on one subnet by what Calico notes of each; None where it notes nothing."""
    noted = [node["metadata"].get("annotations", {}).get(_CALICO_ADDRESS) for _, node in inventory.nodes]
    if not all(noted):
        return None
    return len({ip_interface(interface).network for interface in noted if interface}) == 1


def _across_subnets(kind: str, source: str, same: bool | None) -> Iterator[Fact]:
    """Yield what a setting comes to that encapsulates between subnets only."""
    words = {True: "none", False: kind, None: f"{kind} if the nodes are on two subnets, which nobody says"}[
        same
    ]
    why = {True: "both nodes on one subnet", False: "nodes on two subnets", None: "subnets unknown"}[same]
    yield Fact(ENCAPSULATION, words, f"{source}, across subnets only: {why}", "inferred")


def cilium(inventory: Inventory) -> Iterator[Fact]:
    """Yield how Cilium routes and what pods' devices are; keys that are absent have their defaults."""
    settings = inventory.config_maps.get("cilium-config")
    if settings is None:
        return
    source = "ConfigMap kube-system/cilium-config"
    # Before 1.14, `tunnel` said both; `disabled` was what is now called native.
    old = settings.get("tunnel", "")
    routing = settings.get("routing-mode") or ("native" if old == "disabled" else "tunnel")
    protocol = settings.get("tunnel-protocol") or (old if old not in {"", "disabled"} else "vxlan")
    keys = (
        "routing-mode"
        if "routing-mode" in settings
        else "tunnel"
        if old
        else "routing-mode absent: its default"
    )
    name = {"vxlan": "VXLAN", "geneve": "Geneve"}.get(protocol, protocol)
    value = name if routing == "tunnel" else "none"
    yield Fact(ENCAPSULATION, value, f"{source}, {keys}", "inferred")
    device = settings.get("datapath-mode")
    yield Fact(
        "Cilium pod device",
        device or "veth",
        f"{source}, datapath-mode" + ("" if device else " absent: its default"),
        "inferred",
    )
    big_tcp = settings.get("enable-ipv4-big-tcp") == "true"
    yield Fact(
        "Cilium BIG TCP, IPv4", "on" if big_tcp else "off", f"{source}, enable-ipv4-big-tcp", "inferred"
    )
    if settings.get("enable-wireguard") == "true":
        yield Fact("encryption between nodes", "WireGuard", f"{source}, enable-wireguard", "inferred")


def flannel(inventory: Inventory) -> Iterator[Fact]:
    """Yield Flannel's backend, as it notes it on each node."""
    backends = {
        end: node["metadata"].get("annotations", {}).get(_FLANNEL_BACKEND) for end, node in inventory.nodes
    }
    text = inventory.config_maps.get("kube-flannel-cfg", {}).get("net-conf.json")
    configured: Mapping[str, Any] = json.loads(text).get("Backend", {}) if text else {}
    direct = bool(configured.get("DirectRouting"))
    for end, backend in backends.items():
        if not backend:
            continue
        source = f"annotation {_FLANNEL_BACKEND} of the {end} node"
        kind = {"vxlan": "VXLAN", "host-gw": "none", "ipip": "IP in IP", "wireguard": "WireGuard"}.get(
            backend, backend
        )
        if direct and kind != "none":
            # Nodes on one subnet are routed to, and the annotation is the same.
            yield from _across_subnets(kind, f"{source}; kube-flannel-cfg, DirectRouting", None)
        else:
            yield Fact(ENCAPSULATION, kind, source, "read")


def antrea(inventory: Inventory) -> Iterator[Fact]:
    """Yield Antrea's traffic mode and tunnel, of its agent's settings."""
    text = inventory.config_maps.get("antrea-config", {}).get("antrea-agent.conf")
    if text is None:
        return
    settings = yaml.safe_load(text) or {}
    mode = settings.get("trafficEncapMode") or "encap"
    tunnel = {"geneve": "Geneve", "vxlan": "VXLAN", "gre": "GRE", "stt": "STT"}[
        settings.get("tunnelType") or "geneve"
    ]
    source = "ConfigMap kube-system/antrea-config, trafficEncapMode"
    if "trafficEncapMode" not in settings:
        source += " absent: its default"
    if mode == "hybrid":
        yield from _across_subnets(tunnel, source, None)
    else:
        yield Fact(ENCAPSULATION, tunnel if mode == "encap" else "none", source, "inferred")


def kube_router(inventory: Inventory) -> Iterator[Fact]:
    """Yield kube-router's overlay, of its arguments."""
    for daemon_set, container in inventory.containers():
        if container["name"] != "kube-router":
            continue
        told = dict(argument.removeprefix("--").partition("=")[::2] for argument in container.get("args", ()))
        source = f"DaemonSet {place_of(daemon_set)}, arguments"
        kind = {"fou": "FoU (IP in UDP)"}.get(told.get("overlay-encap", "ipip"), "IP in IP")
        if told.get("enable-overlay", "true") == "false":
            yield Fact(ENCAPSULATION, "none", source, "inferred")
        elif told.get("overlay-type", "subnet") == "full":
            yield Fact(ENCAPSULATION, kind, source, "inferred")
        else:
            yield from _across_subnets(kind, source, None)


def kube_ovn(inventory: Inventory) -> Iterator[Fact]:
    """Yield what the subnet of the server's pod is made of, and the tunnels of the agents' arguments."""
    switch = inventory.server_pod["metadata"].get("annotations", {}).get(_KUBE_OVN_SWITCH)
    if not switch:
        return
    yield Fact("Kube-OVN subnet of the server's pod", switch, f"annotation {_KUBE_OVN_SWITCH} of the pod")
    for subnet in inventory.custom.get("Subnet", ()):
        if subnet["metadata"]["name"] == switch and subnet["spec"].get("vlan"):
            yield Fact(ENCAPSULATION, "none", f"Subnet {switch}, vlan: an underlay", "inferred")
            return
    for daemon_set, container in inventory.containers():
        if container["name"] == "cni-server":
            told = dict(
                argument.removeprefix("--").partition("=")[::2] for argument in container.get("args", ())
            )
            kind = {"vxlan": "VXLAN", "stt": "STT"}.get(told.get("network-type", "geneve"), "Geneve")
            yield Fact(ENCAPSULATION, kind, f"DaemonSet {place_of(daemon_set)}, --network-type", "inferred")


def ovn_kubernetes(inventory: Inventory) -> Iterator[Fact]:
    """Yield what OVN-Kubernetes notes on nodes. Whether a NIC forwards for it shows in the counters of
    representors alone, which this does not see."""
    if all(_OVN_SUBNETS in node["metadata"].get("annotations", {}) for _, node in inventory.nodes):
        source = f"annotation {_OVN_SUBNETS} of both nodes"
        yield Fact(ENCAPSULATION, "Geneve", source, "inferred")
