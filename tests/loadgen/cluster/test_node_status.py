import json

from made_cluster import a_node, a_pod, an_inventory

from loadgen.cluster.node_status import detect_node_status
from loadgen.cluster.targets import NETWORK_STATUS


def test_kernels_and_gpus_of_both_nodes_are_told() -> None:
    gpus = a_node("node-b")
    gpus["metadata"]["labels"]["nvidia.com/gpu.product"] = "NVIDIA-L40S"
    gpus["status"]["allocatable"] = {"nvidia.com/gpu": "0", "nvidia.com/gpu.shared": "8"}
    facts = {fact.name: fact.value for fact in detect_node_status(an_inventory(server_node=gpus))}
    assert facts["kernel, client node"] == "6.8.0-60-generic"
    assert facts["GPU, server node"] == "8 nvidia.com/gpu.shared (NVIDIA-L40S)"
    assert "GPU, client node" not in facts


def test_interfaces_are_those_that_multus_gave_the_servers_pod() -> None:
    status = [
        {"name": "cilium", "interface": "eth0", "ips": ["10.244.2.7"], "default": True},
        {
            "name": "fiveways-bench/fiveways-sriov-rdma",
            "interface": "net1",
            "ips": ["192.168.79.2"],
            "device-info": {"type": "pci", "pci": {"pci-address": "0000:3b:00.2"}},
        },
    ]
    pod = a_pod(**{NETWORK_STATUS: json.dumps(status)})
    facts = {fact.name: fact.value for fact in detect_node_status(an_inventory(server_pod=pod))}
    assert facts["network cilium of the server's pod"] == "eth0: 10.244.2.7"
    name = "network fiveways-bench/fiveways-sriov-rdma of the server's pod"
    assert facts[name] == "net1: 192.168.79.2, device pci"
