"""What `fiveways bench cluster` makes of every overlay: valid, no less secure, and told what to do."""

import json
from collections.abc import Iterator
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from loadgen.cluster.jobs import master_job, plan_config, probe_job, worker_job
from loadgen.cluster.overlay import INSTANCE, Overlay, find_overlay, render
from loadgen.cluster.targets import NETWORK_STATUS, paths_of

OLDEST = "1.30"
LABEL, NAMESPACE, NODE = "bench-0123abcd", "somewhere", "node-b"


@cache
def rendered(overlay: str) -> Overlay:
    return render(find_overlay(overlay), namespace=NAMESPACE, instance=LABEL, images={})


@pytest.fixture
def applied(overlay: str, kubectl: str) -> Overlay:
    return rendered(overlay)


def jobs(overlay: Overlay) -> Iterator[dict[str, Any]]:
    yield master_job(overlay, workers=4, hostname=NODE)
    yield worker_job(overlay, attach="pod", workers=3, master="10.244.1.9", hostname=NODE)
    yield probe_job(overlay, hostname=NODE, end="client", arguments=["--end", "client"])


def test_its_jobs_are_valid_and_no_pod_needs_more_than_the_overlays(applied: Overlay, check: Any) -> None:
    for job in (*jobs(applied), plan_config(applied, "{}")):
        check(job, OLDEST)
    own = applied.one("Job", "fiveways-worker")["spec"]["template"]["spec"]
    (asked,) = own["containers"]
    for job in jobs(applied):
        pod = job["spec"]["template"]["spec"]
        assert (pod.get("hostNetwork"), pod["securityContext"]) == (
            own.get("hostNetwork"),
            own["securityContext"],
        )
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            assert container["securityContext"] == asked["securityContext"]
            assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]  # noqa: S108 - the pod's own


def test_its_pods_are_attached_as_the_overlays_and_ask_for_the_same_functions(applied: Overlay) -> None:
    own = applied.one("Job", "fiveways-worker")["spec"]["template"]
    (asked,) = own["spec"]["containers"]
    devices = {name: count for name, count in asked["resources"]["limits"].items() if "/" in name}
    for job in jobs(applied):
        template = job["spec"]["template"]
        assert template["metadata"].get("annotations") == own["metadata"].get("annotations")
        (container,) = template["spec"]["containers"]
        limits = container["resources"]["limits"]
        assert {name: count for name, count in limits.items() if "/" in name} == devices


def test_everything_carries_the_label_and_is_in_the_namespace(applied: Overlay) -> None:
    for manifest in (*applied.manifests, *jobs(applied), plan_config(applied, "{}")):
        assert manifest["metadata"]["labels"][INSTANCE] == LABEL
        named = manifest["metadata"]["name" if manifest["kind"] == "Namespace" else "namespace"]
        assert named == NAMESPACE
    for manifest in applied.manifests:
        if manifest["kind"] in {"Deployment", "Service"}:
            selector = manifest["spec"]["selector"]
            assert selector.get("matchLabels", selector)[INSTANCE] == LABEL
    for job in jobs(applied):
        assert job["spec"]["template"]["metadata"]["labels"][INSTANCE] == LABEL


def test_no_setting_of_the_overlays_load_generator_ends_a_plan(applied: Overlay) -> None:
    # LOCUST_RUN_TIME of the ConfigMap would.
    for job in jobs(applied):
        (container,) = job["spec"]["template"]["spec"]["containers"]
        assert not {"env", "envFrom"} & set(container)
        assert job["spec"]["suspend"] is False
        assert job["spec"]["template"]["spec"]["nodeSelector"] == {"kubernetes.io/hostname": NODE}


def test_no_service_sends_anything_to_a_probe(applied: Overlay) -> None:
    probe = probe_job(applied, hostname=NODE, end="client", arguments=[])
    labels = probe["spec"]["template"]["metadata"]["labels"]
    for manifest in applied.manifests:
        if manifest["kind"] == "Service":
            assert not manifest["spec"]["selector"].items() <= labels.items()


def test_the_master_has_a_sidecar_that_ends_after_it(applied: Overlay) -> None:
    pod = master_job(applied, workers=4, hostname=NODE)["spec"]["template"]["spec"]
    (relay,) = pod["initContainers"]
    assert relay["restartPolicy"] == "Always"
    assert relay["command"][:3] == ["python", "-m", "loadgen.cluster.relay"]
    observations = pod["containers"][0]["args"][pod["containers"][0]["args"].index("--observations") + 1]
    assert relay["command"][3] == observations
    assert (relay["image"], pod["containers"][0]["image"]) == ("fiveways-loadgen:0.1.0",) * 2


def test_every_way_but_host_networking_has_a_path_besides_the_baseline(
    overlay: str, applied: Overlay
) -> None:
    assert applied.way == overlay
    assert set(applied.targets) - {"hostip"}


def test_every_target_becomes_a_path_that_can_be_dialled(overlay: str, applied: Overlay) -> None:
    services = {m["metadata"]["name"]: dict(m) for m in applied.manifests if m["kind"] == "Service"}
    # What a cluster adds to them.
    services["fiveways"]["spec"] = {**services["fiveways"]["spec"], "clusterIP": "10.96.1.2"}
    if "fiveways-nodeport" in services:
        services["fiveways-nodeport"]["spec"] = {"ports": [{"nodePort": 31234}]}
    networks = [{"interface": "net1", "ips": ["192.168.77.3"]}]
    server = {
        "metadata": {"name": "fiveways-0", "annotations": {NETWORK_STATUS: json.dumps(networks)}},
        "status": {"podIP": "10.244.2.7", "hostIP": "192.0.2.12"},
    }
    paths = paths_of(
        applied.way,
        applied.targets,
        attach="pod",
        server=server,
        services=services,
        client_address="192.0.2.11",
    )
    assert [path.name for path in paths] == [f"{overlay}/{target}" for target in applied.targets]
    for path in paths:
        host = urlsplit(path.url).hostname
        # An address, or the name of a Service in the same namespace.
        assert host in services or ip_address(host or "")


def test_images_are_replaced_by_references_of_any_form(kubectl: str) -> None:
    images = {
        "fiveways-service": "registry.example.org:5000/lab/service:1.2",
        "fiveways-loadgen": "registry.example.org/lab/loadgen@sha256:" + "0" * 64,
    }
    overlay = render(find_overlay("host"), namespace=NAMESPACE, instance=LABEL, images=images)
    used = {
        container["image"]
        for manifest in overlay.manifests
        if manifest["kind"] in {"Deployment", "Job"}
        for container in manifest["spec"]["template"]["spec"]["containers"]
    }
    assert used == set(images.values())


def test_components_are_added(kubectl: str) -> None:
    overlay = render(
        find_overlay("host"), namespace=NAMESPACE, instance=LABEL, images={}, components=["gpu-shared"]
    )
    (container,) = overlay.one("Deployment", "fiveways")["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu.shared"] == "1"


def test_an_overlay_of_ones_own_is_taken_and_host_networking_is_found_beside_the_others(
    tmp_path: Path, kubectl: str
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    ways = find_overlay("host").parent
    relative = Path(*[".."] * len(site.resolve().parts[1:])) / ways.relative_to("/") / "macvlan"
    (site / "kustomization.yaml").write_text(f"resources: [{relative}]\nnamePrefix: ''\n")
    overlay = render(find_overlay(str(site)), namespace=NAMESPACE, instance=LABEL, images={})
    assert overlay.way == "macvlan"
