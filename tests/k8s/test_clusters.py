import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest

POD_RANGE, SERVICE_RANGE = "10.244.0.0/16", "10.96.0.0/16"
WORKLOADS = {"Deployment", "Job", "StatefulSet", "DaemonSet", "Pod", "Service"}
CLUSTERS = {
    "kind",
    "flannel",
    "calico",
    "cilium",
    "antrea",
    "kube-router",
    "kube-ovn",
    "ovn-kubernetes",
    "multus",
    "sriov-network-operator",
    "nvidia-device-plugin",
}


@pytest.fixture
def clusters(k8s: Path) -> Path:
    return k8s / "clusters"


def values_files(clusters: Path) -> list[Path]:
    return sorted(clusters.glob("*/values*.yaml"))


def test_there_is_a_way_to_get_a_cluster_for_each_cni(clusters: Path) -> None:
    assert {path.name for path in clusters.iterdir()} == CLUSTERS


def test_custom_resources_are_valid(clusters: Path, manifests: Any, check: Any) -> None:
    checked = []
    for path in sorted(clusters.glob("*/*.yaml")):
        if path.name.startswith(("policy-", "network-")):
            for manifest in manifests(path):
                check(manifest, "1.30")
                checked.append(path.name)
    assert checked == ["network-offload.yaml", "policy-offload.yaml", "policy-rdma.yaml"]


def test_kind_installs_no_cni_and_leaves_services_to_whom_the_name_says(
    clusters: Path, manifests: Any, check: Any
) -> None:
    for name, mode in (("with", "iptables"), ("without", "none")):
        (cluster,) = manifests(clusters / "kind" / f"{name}-kube-proxy.yaml")
        check(cluster, "1.30")
        networking = cluster["networking"]
        assert networking["disableDefaultCNI"] is True
        assert networking["kubeProxyMode"] == mode
        assert (networking["podSubnet"], networking["serviceSubnet"]) == (POD_RANGE, SERVICE_RANGE)
        assert [node["role"] for node in cluster["nodes"]].count("worker") == 2


def test_what_calicos_operator_is_told_is_valid(clusters: Path, manifests: Any, check: Any) -> None:
    told = {}
    for path in sorted(clusters.glob("calico/values-*.yaml")):
        (values,) = manifests(path)
        installation = {
            "apiVersion": "operator.tigera.io/v1",
            "kind": "Installation",
            "metadata": {"name": "default"},
            "spec": values["installation"],
        }
        check(installation, "1.30")
        network = values["installation"]["calicoNetwork"]
        told[path.stem] = (network["linuxDataplane"], network["bgp"], network["ipPools"][0]["encapsulation"])
    assert told == {
        "values-bgp": ("Iptables", "Enabled", "None"),
        "values-ebpf": ("BPF", "Enabled", "None"),
        "values-vxlan": ("Iptables", "Disabled", "VXLAN"),
    }


def test_all_pods_are_in_the_range_that_the_cluster_was_made_with(clusters: Path) -> None:
    for path in clusters.glob("*/*.yaml"):
        ranges = set(re.findall(r"\b10\.\d+\.\d+\.\d+/\d+", path.read_text()))
        assert ranges <= {POD_RANGE, SERVICE_RANGE}, path


def test_versions_are_pinned_and_the_readme_installs_the_same(clusters: Path) -> None:
    for path in values_files(clusters):
        header = path.read_text().splitlines()[0]
        chart = re.match(r"# chart (\S+) (v?\d+\.\d+\.\d+)", header)
        assert chart, f"{path} does not say which chart it is for"
        readme = (path.parent / "README.md").read_text()
        assert chart[1].rpartition("/")[2] in readme
        assert re.search(rf"(--version|--branch) v?{chart[2].removeprefix('v')}\b", readme), path


def test_manifests_of_others_are_pinned_to_a_release(clusters: Path, manifests: Any) -> None:
    for path in sorted(clusters.glob("*/kustomization.yaml")):
        (kustomization,) = manifests(path)
        (url,) = kustomization["resources"]
        (image,) = kustomization["images"]
        release = re.match(r"https://raw\.githubusercontent\.com/[\w-]+/[\w-]+/(v\d+\.\d+\.\d+)/", url)
        assert release, url
        assert image["newTag"].startswith(release[1])
        assert release[1] in (path.parent / "README.md").read_text()


def test_the_readme_says_of_which_day_the_versions_are(k8s: Path) -> None:
    (day,) = re.findall(r"versions pinned as of (\S+);", (k8s / "README.md").read_text())
    assert date.fromisoformat(day) >= date(2026, 11, 1)


def test_every_readme_says_what_was_read_where(clusters: Path) -> None:
    for name in CLUSTERS:
        readme = (clusters / name / "README.md").read_text()
        assert re.search(r"^Read( at v[\d.]+| at kind v[\d.]+)?: ", readme, re.MULTILINE), name


def test_every_file_is_one_that_a_readme_uses(clusters: Path) -> None:
    for path in clusters.glob("*/*.yaml"):
        readme = (path.parent / "README.md").read_text()
        used = f"-k k8s/clusters/{path.parent.name}" if path.name == "kustomization.yaml" else path.name
        assert used in readme, path


def test_clusters_never_touch_the_application(clusters: Path, manifests: Any) -> None:
    for path in clusters.glob("*/*.yaml"):
        for manifest in manifests(path):
            assert manifest.get("kind") not in WORKLOADS, path
            assert not manifest.get("metadata", {}).get("namespace", "").startswith("fiveways"), path
        assert "../" not in path.read_text(), path


def test_a_policy_that_nobody_edited_takes_no_nic(clusters: Path, manifests: Any) -> None:
    for path in clusters.glob("*/policy-*.yaml"):
        (policy,) = manifests(path)
        assert policy["spec"]["nicSelector"] == {"pfNames": ["edit-me"]}
