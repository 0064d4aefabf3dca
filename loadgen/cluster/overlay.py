"""An overlay of k8s/ as a run applies it: rendered by kustomize, in a namespace and under a label of the run.

What an overlay says is never changed but for namespace, instance label, images and components, and, once they
are chosen, nodes. Knows no cluster.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path as File

import yaml

from loadgen.cluster.apiserver import Manifest
from loadgen.errors import ClusterError

INSTANCE = "app.kubernetes.io/instance"
"""Label of everything that a run makes, and of nothing else."""
WAY = "fiveways/way"
HOSTNAME = "kubernetes.io/hostname"
TARGETS = "fiveways-targets"
K8S = File(__file__).parents[2] / "k8s"
RENDER_S = 60.0


@dataclass(frozen=True, slots=True)
class Overlay:
    """An overlay, rendered."""

    namespace: str
    manifests: tuple[Manifest, ...]

    def one(self, kind: str, name: str) -> Manifest:
        """Return a manifest. Raises ClusterError where the overlay has none such."""
        for manifest in self.manifests:
            if manifest["kind"] == kind and manifest["metadata"]["name"] == name:
                return manifest
        raise ClusterError(f"the overlay has no {kind} {name}: it must build on k8s/base")

    @property
    def way(self) -> str:
        """The way that it stands for, as its label says."""
        way = self.one("Deployment", "fiveways")["metadata"]["labels"].get(WAY)
        if not way:
            raise ClusterError(
                f"the overlay does not label its Deployment with {WAY}: which way it is, nobody knows"
            )
        return str(way)

    @property
    def targets(self) -> Mapping[str, str]:
        """What can be dialled, by target: URLs with names in braces."""
        targets: Mapping[str, str] = self.one("ConfigMap", TARGETS).get("data", {})
        return targets

    @property
    def lasting(self) -> Iterator[Manifest]:
        """What is applied once for a whole run: all but the Jobs. Namespaces come first."""
        manifests = [manifest for manifest in self.manifests if manifest["kind"] != "Job"]
        yield from sorted(manifests, key=lambda manifest: manifest["kind"] != "Namespace")


def find_overlay(typed: str) -> File:
    """Return the folder of an overlay: that of a way in k8s/overlays, or one of the user's own. Raises
    ClusterError."""
    ways = K8S / "overlays"
    for folder in (File(typed), ways / typed):
        if (folder / "kustomization.yaml").is_file():
            return folder.resolve()
    if ways.is_dir():
        known = ", ".join(sorted(folder.name for folder in ways.iterdir()))
        raise ClusterError(
            f"there is no overlay {typed}: name one of {known}, or a folder with a kustomization.yaml"
        )
    raise ClusterError(
        f"there is no kustomization.yaml in {typed}; the overlays are in k8s/overlays of the sources"
    )


def sibling(folder: File, way: str) -> File:
    """Return the folder of another way, beside `folder` or in k8s/overlays. Raises ClusterError."""
    beside = folder.parent / way
    return beside if (beside / "kustomization.yaml").is_file() else find_overlay(way)


def render(
    folder: File, *, namespace: str, instance: str, images: Mapping[str, str], components: Iterable[str] = ()
) -> Overlay:
    """Render the overlay in `folder`. `images` are references, by what overlays call them; `components` are
    names in k8s/components. Raises ClusterError."""
    kubectl = shutil.which("kubectl")
    if not kubectl:
        raise ClusterError(
            "there is no kubectl here, which renders overlays: https://kubernetes.io/docs/tasks/tools"
        )
    with tempfile.TemporaryDirectory() as wrapper:
        # Paths that kustomize takes are relative ones, without links on the way.
        here = File(wrapper).resolve()
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": namespace,
            "resources": [os.path.relpath(folder.resolve(), here)],
            "components": [os.path.relpath(_component(name), here) for name in components],
            "labels": [{"pairs": {INSTANCE: instance}, "includeSelectors": True}],
            "images": [{"name": name, **split_reference(reference)} for name, reference in images.items()],
        }
        (here / "kustomization.yaml").write_text(json.dumps(kustomization), encoding="utf-8")
        done = subprocess.run(  # noqa: S603 - the command is our own
            [kubectl, "kustomize", here], check=False, capture_output=True, text=True, timeout=RENDER_S
        )
    if done.returncode:
        raise ClusterError(f"{folder} cannot be rendered: {done.stderr.strip()}")
    manifests = tuple(manifest for manifest in yaml.safe_load_all(done.stdout) if manifest)
    return Overlay(namespace, manifests)


def _component(name: str) -> File:
    folder = K8S / "components" / name
    if not (folder / "kustomization.yaml").is_file():
        raise ClusterError(f"there is no component {name} in {folder.parent}")
    return folder.resolve()


def split_reference(reference: str) -> dict[str, str]:
    """Return the reference of an image as kustomize wants it: name, and tag or digest."""
    name, at, digest = reference.partition("@")
    if at:
        return {"newName": name, "digest": digest}
    # A colon before the last slash is a registry's port.
    before, colon, tag = name.rpartition(":")
    return {"newName": before, "newTag": tag} if colon and "/" not in tag else {"newName": name}


def pinned(workload: Manifest, hostname: str) -> Manifest:
    """Return a Deployment or a Job whose pods can only be on the node of this host name."""
    copy = deepcopy(workload)
    copy["spec"]["template"]["spec"].setdefault("nodeSelector", {})[HOSTNAME] = hostname
    return copy
