"""The Pod Security Standards, as far as our manifests could break them; docs: kubernetes.io, same name."""

from collections.abc import Iterator
from typing import Any

LEVEL = "pod-security.kubernetes.io/enforce"
RESTRICTED_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def violations(pod: dict[str, Any]) -> Iterator[str]:
    """Yield what the level `restricted` would refuse in a pod template."""
    spec = pod["spec"]
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield field
    for volume in spec["volumes"]:
        if not set(volume) - {"name"} <= RESTRICTED_VOLUMES:
            yield f"volume {volume['name']}"
    security = spec["securityContext"]
    if security.get("runAsNonRoot") is not True or security.get("runAsUser") == 0:
        yield "root"
    if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "seccomp"
    for container in spec["containers"]:
        security = container["securityContext"]
        if security.get("privileged") or security.get("allowPrivilegeEscalation") is not False:
            yield "privileges"
        if security["capabilities"].get("drop") != ["ALL"]:
            yield "capabilities kept"
        if set(security["capabilities"].get("add", [])) - {"NET_BIND_SERVICE"}:
            yield "capabilities added"
        if any("hostPort" in port for port in container.get("ports", [])):
            yield "hostPort"


def test_a_namespace_allows_no_more_than_its_pods_need(overlay: str, render: Any) -> None:
    rendered = render(f"overlays/{overlay}")
    (namespace,) = rendered.of("Namespace")
    found = {what for pod in rendered.pods.values() for what in violations(pod)}
    level = namespace["metadata"]["labels"][LEVEL]
    assert level == ("privileged" if found else "restricted")
    expected = {"host": {"hostNetwork"}, "sriov-rdma": {"capabilities added"}}
    assert found == expected.get(overlay, set())


def test_no_component_needs_more_than_restricted(component: str, write: Any) -> None:
    site = write(
        "apiVersion: kustomize.config.k8s.io/v1beta1\n"
        "kind: Kustomization\n"
        "namespace: fiveways\n"
        "resources: [../dev-cpu]\n"
        f"components: [../../components/{component}]\n"
    )
    assert not [what for pod in site.pods.values() for what in violations(pod)]


def test_the_root_file_system_is_read_only_and_tmp_is_not(overlay: str, render: Any) -> None:
    for pod in render(f"overlays/{overlay}").pods.values():
        for container in pod["spec"]["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]  # noqa: S108 - the pod's own
        assert {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}} in pod["spec"]["volumes"]
