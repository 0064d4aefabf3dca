"""What the API server knows of the nodes of a run, and of how its pods are attached. Pure."""

import json
from collections.abc import Iterator

from loadgen.cluster.inventory import Inventory
from loadgen.cluster.targets import NETWORK_STATUS
from loadgen.facts import Fact

GPU = "nvidia.com/gpu"
ZONE = "topology.kubernetes.io/zone"


def detect_node_status(inventory: Inventory) -> Iterator[Fact]:
    """Yield kernels, GPUs, zones and versions of both nodes, and the interfaces of the server's pod."""
    for end, node in inventory.nodes:
        info, labels = node["status"]["nodeInfo"], node["metadata"].get("labels", {})
        source = f"status of node {node['metadata']['name']}"
        yield Fact(f"kernel, {end} node", info["kernelVersion"], source)
        yield Fact(f"system, {end} node", info["osImage"], source)
        yield Fact(f"kubelet, {end} node", info["kubeletVersion"], source)
        yield Fact(f"container runtime, {end} node", info["containerRuntimeVersion"], source)
        if zone := labels.get(ZONE):
            yield Fact(f"zone, {end} node", zone, f"label {ZONE}")
        for resource, amount in node["status"].get("allocatable", {}).items():
            if resource.startswith(GPU) and amount != "0":
                product = labels.get("nvidia.com/gpu.product")
                yield Fact(
                    f"GPU, {end} node", f"{amount} {resource}" + (f" ({product})" if product else ""), source
                )
    yield from _interfaces(inventory)


def _interfaces(inventory: Inventory) -> Iterator[Fact]:
    annotation = inventory.server_pod["metadata"].get("annotations", {}).get(NETWORK_STATUS)
    for network in json.loads(annotation) if annotation else ():
        words = f"{network.get('interface', '?')}: {', '.join(network.get('ips', ())) or 'no address'}"
        device = network.get("device-info", {}).get("type")
        value = words + (f", device {device}" if device else "")
        yield Fact(f"network {network['name']} of the server's pod", value, f"annotation {NETWORK_STATUS}")
