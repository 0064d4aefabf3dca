"""Objects of real clusters as their API servers give them, cut down to what could be looked at."""

from typing import Any

from loadgen.cluster.inventory import Inventory

Plain = dict[str, Any]


def a_daemon_set(
    namespace: str, name: str, *containers: tuple[str, str], args: tuple[str, ...] = ()
) -> Plain:
    """A DaemonSet on two nodes, with containers by name and image."""
    return {
        "metadata": {"namespace": namespace, "name": name, "labels": {"k8s-app": name}},
        "spec": {
            "template": {
                "spec": {
                    "containers": [
                        {"name": container, "image": image, **({"args": list(args)} if args else {})}
                        for container, image in containers
                    ]
                }
            }
        },
        "status": {"desiredNumberScheduled": 2, "numberReady": 2},
    }


CALICO = a_daemon_set("calico-system", "calico-node", ("calico-node", "quay.io/calico/node:v3.32.1"))
CILIUM = a_daemon_set(
    "kube-system",
    "cilium",
    ("cilium-agent", "quay.io/cilium/cilium:v1.20.0@sha256:0123456789abcdef0123456789abcdef"),
)
FLANNEL = a_daemon_set(
    "kube-flannel", "kube-flannel-ds", ("kube-flannel", "ghcr.io/flannel-io/flannel:v0.28.9")
)
CANAL = a_daemon_set(
    "kube-system",
    "canal",
    ("calico-node", "docker.io/calico/node:v3.32.1"),
    ("kube-flannel", "docker.io/flannel/flannel:v0.28.9"),
)
ANTREA = a_daemon_set(
    "kube-system",
    "antrea-agent",
    ("antrea-agent", "antrea/antrea-agent-ubuntu:v2.7.0"),
    ("antrea-ovs", "antrea/antrea-agent-ubuntu:v2.7.0"),
)
MULTUS = a_daemon_set(
    "kube-system", "kube-multus-ds", ("kube-multus", "ghcr.io/k8snetworkplumbingwg/multus-cni:v4.3.0-thick")
)
KUBE_OVN = a_daemon_set(
    "kube-system",
    "kube-ovn-cni",
    ("cni-server", "docker.io/kubeovn/kube-ovn:v1.16.2"),
    args=("--enable-mirror=false", "--network-type=geneve"),
)
OVN_KUBERNETES = a_daemon_set(
    "ovn-kubernetes",
    "ovnkube-node",
    ("ovnkube-controller", "ghcr.io/ovn-kubernetes/ovn-kube-ubuntu:release-1.2"),
)
KUBE_PROXY = a_daemon_set("kube-system", "kube-proxy", ("kube-proxy", "registry.k8s.io/kube-proxy:v1.36.1"))


def kube_router(*arguments: str) -> Plain:
    """kube-router's DaemonSet with these arguments."""
    image = "docker.io/cloudnativelabs/kube-router:v2.11.1"
    return a_daemon_set("kube-system", "kube-router", ("kube-router", image), args=arguments)


def a_node(name: str = "node-a", **annotations: str) -> Plain:
    """A node; underscores of annotations' names are no matter: give them with `**`."""
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}, "annotations": annotations},
        "status": {
            "allocatable": {"cpu": "63", "memory": "263000000Ki", "nvidia.com/gpu": "0"},
            "nodeInfo": {
                "kernelVersion": "6.8.0-60-generic",
                "osImage": "Ubuntu 24.04.2 LTS",
                "kubeletVersion": "v1.36.1",
                "containerRuntimeVersion": "containerd://2.1.1",
            },
        },
    }


def a_pod(address: str = "10.244.2.7", **annotations: str) -> Plain:
    """The server's pod."""
    return {
        "metadata": {"name": "fiveways-0", "namespace": "fiveways-bench", "annotations": annotations},
        "status": {"podIP": address, "hostIP": "192.0.2.12", "phase": "Running"},
    }


def an_inventory(*daemon_sets: Plain, **parts: Any) -> Inventory:
    """A cluster with these DaemonSets, and what else is said."""
    made: Plain = {"client_node": a_node("node-a"), "server_node": a_node("node-b"), "server_pod": a_pod()}
    return Inventory(**{**made, "daemon_sets": daemon_sets, **parts})
