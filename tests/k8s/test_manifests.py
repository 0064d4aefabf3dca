import json
import re
from collections.abc import Callable
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

KUBERNETES = ("1.30", "1.35", "1.37")
"""What manifests are valid for: the oldest that k8s/README.md says, one between, and the newest known."""
WITH_IMAGE_VOLUMES = KUBERNETES[1:]
"""Those that have them by default, as k8s/README.md says."""
ALONE = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: fiveways
resources:
  - ../dev-cpu
components:
  - ../../components/{component}
"""
CLUSTER_WIDE = {"Namespace"}


def whole(rendered: Any, check: Callable[..., None], versions: tuple[str, ...] = KUBERNETES) -> None:
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in rendered.manifests]
    assert len(set(names)) == len(names)
    for manifest in rendered.manifests:
        if manifest["kind"] not in CLUSTER_WIDE:
            assert manifest["metadata"]["namespace"], f"{manifest['kind']} would go to any namespace"
        for version in versions:
            check(manifest, version)


def test_every_overlay_is_valid(overlay: str, render: Any, check: Any) -> None:
    whole(render(f"overlays/{overlay}"), check)


def test_every_component_is_valid_alone(component: str, write: Any, check: Any) -> None:
    versions = WITH_IMAGE_VOLUMES if component == "model-image" else KUBERNETES
    whole(write(ALONE.format(component=component)), check, versions)


def test_every_kustomization_that_the_readme_shows_is_valid(
    documented: dict[str, str], write: Any, check: Any
) -> None:
    assert len(documented) == 4
    for text in documented.values():
        whole(write(text), check)


def test_the_service_can_be_had_without_the_load_generator(
    documented: dict[str, str], write: Any, k8s: Any
) -> None:
    production = write(documented["gpu keda monitoring network-policy tls"])
    assert not production.of("Job")
    assert production.server["image"] == "registry.example.org/lab/fiveways-service:0.1.0-cuda"
    assert production.one("Gateway")["spec"]["listeners"][0]["hostname"] == "basecalls.example.org"


def test_the_readme_names_every_component_and_no_other(k8s: Any) -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|", (k8s / "README.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(path.parent.name for path in k8s.glob("components/*/kustomization.yaml"))


def test_an_unknown_field_is_found(render: Any, check: Any) -> None:
    namespace = render("overlays/host").one("Namespace", "fiveways-host")
    with pytest.raises(kubernetes_validate.ValidationError, match="unknwon"):
        check(json.loads(json.dumps(namespace).replace('"labels"', '"unknwon"')), KUBERNETES[0])
    network = render("overlays/macvlan").one("NetworkAttachmentDefinition", "fiveways-macvlan")
    with pytest.raises(jsonschema.ValidationError, match="unknwon"):
        check(network | {"unknwon": 1}, KUBERNETES[0])


def test_everything_carries_the_label_by_which_it_is_found_again(overlay: str, render: Any) -> None:
    for manifest in render(f"overlays/{overlay}").manifests:
        assert manifest["metadata"]["labels"]["app.kubernetes.io/part-of"] == "fiveways"
        assert manifest["metadata"]["labels"]["fiveways/way"] == overlay


def test_everything_follows_a_name_and_a_namespace_of_its_users(write: Any) -> None:
    site = write(
        ALONE.format(component="keda").replace("namespace: fiveways", "namespace: lab\nnameSuffix: -a")
        + "  - ../../components/tls\n"
    )
    assert {m["metadata"]["namespace"] for m in site.manifests if m["kind"] != "Namespace"} == {"lab"}
    assert [m["metadata"]["name"] for m in site.of("Namespace")] == ["lab"]
    assert site.one("ScaledObject", "fiveways-a")["spec"]["scaleTargetRef"]["name"] == "fiveways-a"
    (rule,) = site.one("HTTPRoute", "fiveways-a")["spec"]["rules"]
    assert rule["backendRefs"] == [{"name": "fiveways-a", "port": 8000}]
    (worker,) = site.pods["Job/fiveways-worker-a"]["spec"]["containers"]
    assert {"name": "LOCUST_MASTER_NODE_HOST", "value": "fiveways-master-a"} in worker["env"]
