from typing import Any

import kube_api
import pytest

from loadgen.cluster.nodes import address_of, choose_nodes, name_of
from loadgen.errors import ClusterError

POD: dict[str, Any] = {"containers": [{"resources": {"limits": {"memory": "3Gi"}}}]}
GPU_POD: dict[str, Any] = {
    "containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}],
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
}
CONTROL_PLANE = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}


def a_node(name: str, gpus: int = 0, **spec: Any) -> dict[str, Any]:
    node = kube_api.a_node(name, "192.0.2.1", **spec)
    node["status"]["allocatable"]["nvidia.com/gpu"] = str(gpus)
    return node


def chosen(
    *nodes: Any, pod: Any = POD, server: str | None = None, client: str | None = None
) -> tuple[str, str]:
    one, other = choose_nodes(nodes, pod, POD, server=server, client=client)
    return name_of(one), name_of(other)


def test_ends_are_on_two_nodes_that_take_them() -> None:
    assert chosen(a_node("c"), a_node("b"), a_node("a", taints=[CONTROL_PLANE])) == ("b", "c")


def test_servers_that_want_a_gpu_are_where_one_is_and_clients_are_not() -> None:
    taint = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    assert chosen(a_node("a"), a_node("g", gpus=1, taints=[taint]), pod=GPU_POD) == ("g", "a")


def test_a_node_that_is_named_is_kept_to_and_the_other_end_goes_elsewhere() -> None:
    nodes = [a_node("a"), a_node("b"), a_node("c")]
    assert chosen(*nodes, server="c") == ("c", "a")
    assert chosen(*nodes, client="a") == ("b", "a")
    assert chosen(*nodes, server="b", client="c") == ("b", "c")


@pytest.mark.parametrize(
    ("nodes", "choice", "why"),
    [
        ([a_node("a")], {}, "--client-node: a: the other end is there"),
        ([a_node("a"), a_node("b", unschedulable=True)], {}, "b: cordoned"),
        ([a_node("a"), a_node("b", taints=[CONTROL_PLANE])], {}, "b: tainted with node-role"),
        ([a_node("a"), a_node("b")], {"server": "z"}, "there is no node z; there are a, b"),
        ([a_node("a"), a_node("b")], {"server": "a", "client": "a"}, "the other end is there"),
        ([a_node("a"), a_node("b")], {"pod": GPU_POD}, "a: has 0 nvidia.com/gpu, not 1"),
        ([], {}, "the cluster has no nodes"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(
    nodes: list[Any], choice: dict[str, Any], why: str
) -> None:
    with pytest.raises(ClusterError) as refused:
        chosen(*nodes, **choice)
    assert why in str(refused.value)


def test_a_node_that_is_not_ready_takes_nothing() -> None:
    down = a_node("a")
    down["status"]["conditions"][0]["status"] = "Unknown"
    assert chosen(down, a_node("b"), a_node("c")) == ("b", "c")


def test_node_ports_are_dialled_at_the_internal_address() -> None:
    node = a_node("a")
    node["status"]["addresses"].insert(0, {"type": "Hostname", "address": "a.example.org"})
    assert address_of(node) == "192.0.2.1"
