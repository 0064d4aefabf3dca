import json
import re
from typing import Any

PRIMARY = {
    "antrea",
    "calico-bgp",
    "calico-ebpf",
    "calico-vxlan",
    "cilium-native",
    "cilium-vxlan",
    "flannel-hostgw",
    "flannel-vxlan",
    "kube-ovn",
    "kube-router",
    "ovn-kubernetes",
}
"""Ways that are a cluster's CNI, not something that its pods ask for."""
SECOND_NIC = {"macvlan", "ipvlan", "sriov-rdma"}
OTHER = {"host", "ovn-offload", "dev-cpu"}
TARGETS = {
    "host": {"hostip", "clusterip", "nodeport"},
    **{way: {"net1ip"} for way in SECOND_NIC},
    **{way: {"podip", "clusterip", "headless", "nodeport"} for way in PRIMARY | {"ovn-offload", "dev-cpu"}},
}
NETWORKS = "k8s.v1.cni.cncf.io/networks"
DEFAULT_NETWORK = "v1.multus-cni.io/default-network"
RESOURCE_NAME = "k8s.v1.cni.cncf.io/resourceName"
RESOURCE_PREFIX = "openshift.io/"
"""That of the SR-IOV network operator's chart."""


def targets(rendered: Any) -> dict[str, str]:
    data: dict[str, str] = rendered.one("ConfigMap", "fiveways-targets")["data"]
    return data


def annotations(pod: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = pod["metadata"].get("annotations", {})
    return found


def limits(pod: dict[str, Any]) -> dict[str, str]:
    (container,) = pod["spec"]["containers"]
    found: dict[str, str] = container["resources"]["limits"]
    return found


def test_there_is_an_overlay_for_each_way(k8s: Any) -> None:
    overlays = {path.name for path in (k8s / "overlays").iterdir()}
    assert overlays == PRIMARY | SECOND_NIC | OTHER


def test_overlays_of_primary_cnis_differ_in_their_label_alone(render: Any) -> None:
    texts = {
        json.dumps(render(f"overlays/{way}").manifests).replace(f'"fiveways/way": "{way}"', "")
        for way in PRIMARY
    }
    assert len(texts) == 1


def test_what_can_be_dialled_is_what_exists_on_the_way(overlay: str, render: Any) -> None:
    assert set(targets(render(f"overlays/{overlay}"))) == TARGETS[overlay]


def test_every_target_has_what_it_dials(overlay: str, render: Any) -> None:
    rendered = render(f"overlays/{overlay}")
    pod = rendered.pods["Deployment/fiveways"]
    services = {s["metadata"]["labels"].get("fiveways/target"): s["spec"] for s in rendered.of("Service")}
    on_host = pod["spec"].get("hostNetwork", False)
    port = rendered.server["ports"][0]["containerPort"]
    for target, url in targets(rendered).items():
        if target == "nodeport":
            assert url == "http://{nodeIP}:{nodePort}"
            assert services[target]["type"] == "NodePort"
            # Two instances in a cluster would want the same one.
            assert "nodePort" not in services[target]["ports"][0]
            continue
        address = re.fullmatch(rf"http://(.+):{port}", url)
        assert address, url
        if target == "clusterip":
            assert address[1] == "{clusterIP}"
            assert services[target]["type"] == "ClusterIP"
            assert services[target].get("clusterIP") != "None"
        elif target == "headless":
            assert services[target]["clusterIP"] == "None"
            assert address[1] in {s["metadata"]["name"] for s in rendered.of("Service")}
        elif target == "net1ip":
            assert address[1] == "{net1IP}"
            assert NETWORKS in annotations(pod)
        else:
            assert address[1] == {"podip": "{podIP}", "hostip": "{hostIP}"}[target]
            assert on_host == (target == "hostip")


def test_the_readme_says_where_to_read_what_stands_in_braces(overlay: str, render: Any, k8s: Any) -> None:
    readme = (k8s / "README.md").read_text()
    for url in targets(render(f"overlays/{overlay}")).values():
        for name in re.findall(r"\{(\w+)\}", url):
            assert re.search(rf"^\| .*`{name}`.* \|", readme, re.MULTILINE), name


def test_pods_of_both_ends_are_attached_alike(overlay: str, render: Any) -> None:
    # Jobs dial what the pods of the service listen on, over the same kind of interface.
    pods = render(f"overlays/{overlay}").pods.values()
    assert len({(bool(pod["spec"].get("hostNetwork")), str(annotations(pod))) for pod in pods}) == 1


def test_pods_on_the_hosts_network_resolve_names_and_let_go_of_their_port_first(render: Any) -> None:
    host = render("overlays/host")
    for pod in host.pods.values():
        assert pod["spec"]["hostNetwork"] is True
        assert pod["spec"]["dnsPolicy"] == "ClusterFirstWithHostNet"
    rolling = host.one("Deployment")["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxSurge": 0, "maxUnavailable": 1}


def test_instances_of_ways_can_share_a_cluster(k8s: Any, render: Any) -> None:
    names: dict[tuple[str, str], set[str]] = {}
    for path in (k8s / "components" / "attach").iterdir():
        overlay = {"pod": "cilium-native", "host": "host"}.get(path.name, path.name.removeprefix("multus-"))
        for manifest in render(f"overlays/{overlay}").manifests:
            where = manifest["metadata"].get("namespace") or manifest["metadata"]["name"]
            names.setdefault((manifest["kind"], where), set()).add(overlay)
    assert all(len(overlays) == 1 for overlays in names.values())


def test_a_second_interface_is_one_that_the_overlay_defines(render: Any) -> None:
    for way in SECOND_NIC:
        rendered = render(f"overlays/{way}")
        for pod in rendered.pods.values():
            network = rendered.one("NetworkAttachmentDefinition", annotations(pod)[NETWORKS])
            config = json.loads(network["spec"]["config"])
            assert config["name"] == network["metadata"]["name"]
            assert config["type"] == {"sriov-rdma": "sriov"}.get(way, way)
            # One allocator for all nodes: host-local would give the same address on two of them.
            assert config["ipam"]["type"] == "whereabouts"


def test_ranges_of_second_interfaces_do_not_overlap(render: Any) -> None:
    ranges = [
        json.loads(network["spec"]["config"])["ipam"]["range"]
        for way in SECOND_NIC
        for network in render(f"overlays/{way}").of("NetworkAttachmentDefinition")
    ]
    assert sorted(ranges) == ["192.168.77.0/24", "192.168.78.0/24", "192.168.79.0/24"]


def test_a_virtual_function_is_asked_for_where_the_network_needs_one(render: Any) -> None:
    rendered = render("overlays/sriov-rdma")
    (network,) = rendered.of("NetworkAttachmentDefinition")
    for pod in rendered.pods.values():
        assert limits(pod)[network["metadata"]["annotations"][RESOURCE_NAME]] == "1"
        (container,) = pod["spec"]["containers"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["IPC_LOCK"]}


def test_the_clusters_provide_the_functions_and_networks_that_pods_ask_for(
    render: Any, k8s: Any, manifests: Any
) -> None:
    (rdma,) = manifests(k8s / "clusters/sriov-network-operator/policy-rdma.yaml")
    (offload,) = manifests(k8s / "clusters/ovn-kubernetes/policy-offload.yaml")
    (network,) = manifests(k8s / "clusters/ovn-kubernetes/network-offload.yaml")
    assert rdma["spec"]["isRdma"] is True
    assert offload["spec"]["eSwitchMode"] == "switchdev"
    assert (
        network["metadata"]["annotations"][RESOURCE_NAME] == RESOURCE_PREFIX + offload["spec"]["resourceName"]
    )
    # Multus looks for default networks in its own namespace.
    assert network["metadata"]["namespace"] == "kube-system"
    for pod in render("overlays/sriov-rdma").pods.values():
        assert limits(pod)[RESOURCE_PREFIX + rdma["spec"]["resourceName"]] == "1"
    for pod in render("overlays/ovn-offload").pods.values():
        assert limits(pod)[RESOURCE_PREFIX + offload["spec"]["resourceName"]] == "1"
        assert annotations(pod) == {DEFAULT_NETWORK: network["metadata"]["name"]}


def test_every_overlay_says_what_it_measures_needs_and_cannot_reach(
    overlay: str, render: Any, k8s: Any
) -> None:
    readme = (k8s / "overlays" / overlay / "README.md").read_text()
    said = dict(re.findall(r"^- \*\*([^*]+)\*\*: (.+?)(?=^- |\Z)", readme, re.MULTILINE | re.DOTALL))
    assert list(said) == ["Measures", "Needs", "n/a by construction", "Reached by"]
    for target in TARGETS[overlay]:
        assert target in said["Reached by"]
        assert target not in said["n/a by construction"].split(", for")[0]
    for cluster in re.findall(r"`clusters/([a-z-]+)`", said["Needs"]):
        assert (k8s / "clusters" / cluster / "README.md").is_file()
    for values in re.findall(r"`(values-[a-z]+\.yaml)`", said["Needs"]):
        assert list(k8s.glob(f"clusters/*/{values}"))
