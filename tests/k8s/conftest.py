"""What the tests of k8s/ share: its manifests as kustomize renders them, and whether they are valid."""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
SCHEMAS = Path(__file__).parent / "schemas"
"""Of custom resources, with the fields that we use and no others."""
OVERLAYS = sorted(path.parent.name for path in K8S.glob("overlays/*/kustomization.yaml"))
COMPONENTS = sorted(path.parent.name for path in K8S.glob("components/*/kustomization.yaml"))

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rendered:
    """What `kubectl apply -k` of a folder would send."""

    manifests: tuple[Manifest, ...]

    def of(self, kind: str) -> list[Manifest]:
        """Return all of a kind."""
        return [manifest for manifest in self.manifests if manifest["kind"] == kind]

    def one(self, kind: str, name: str = "fiveways") -> Manifest:
        """Return the one of a kind and a name; a ConfigMap's name may end with a hash."""
        names = re.compile(name + "(-[a-z0-9]{10})?" if kind == "ConfigMap" else name)
        (found,) = (manifest for manifest in self.of(kind) if names.fullmatch(manifest["metadata"]["name"]))
        return found

    @property
    def pods(self) -> dict[str, Manifest]:
        """Return the pod templates, by what makes the pods: `Deployment/fiveways`."""
        return {
            f"{manifest['kind']}/{manifest['metadata']['name']}": manifest["spec"]["template"]
            for manifest in self.manifests
            if manifest["kind"] in {"Deployment", "Job"}
        }

    @property
    def server(self) -> Manifest:
        """Return the container of the service."""
        (container,) = self.pods["Deployment/fiveways"]["spec"]["containers"]
        return container


Render = Callable[[Path | str], Rendered]
Write = Callable[[str], Rendered]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for `overlay` for each of them, and for `component` likewise."""
    for fixture, names in (("overlay", OVERLAYS), ("component", COMPONENTS)):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, names)


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def k8s() -> Path:
    return K8S


@pytest.fixture(scope="session")
def manifests() -> Callable[[Path | str], list[Manifest]]:
    """Read a YAML file, or YAML text, that kustomize has no part in."""
    return lambda source: list(yaml.safe_load_all(source.read_text() if isinstance(source, Path) else source))


@pytest.fixture(scope="session")
def render(kubectl: str) -> Render:
    """Render a folder: a path, or one in k8s/."""

    @cache
    def run(folder: Path) -> Rendered:
        done = subprocess.run(
            [kubectl, "kustomize", folder], check=False, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert not done.stderr
        return Rendered(tuple(manifest for manifest in yaml.safe_load_all(done.stdout) if manifest))

    return lambda folder: run(K8S / folder)


@pytest.fixture
def write(render: Render, tmp_path: Path) -> Write:
    """Render a kustomization that is given as text, as if it were in a folder of k8s/overlays."""
    copy = tmp_path / "k8s"
    shutil.copytree(K8S, copy)

    def run(kustomization: str) -> Rendered:
        site = Path(tempfile.mkdtemp(dir=copy / "overlays"))
        (site / "kustomization.yaml").write_text(kustomization)
        # What the README's example makes a ConfigMap of.
        (site / "config.toml").write_text("[model]\n")
        (site / "weights.safetensors").write_bytes(b"\x00\xff")
        return render(site)

    return run


@pytest.fixture(scope="session")
def check() -> Callable[[Manifest, str], None]:
    """Raise ValidationError where a manifest is not valid for a Kubernetes, down to unknown fields."""

    @cache
    def run(text: str, version: str) -> None:
        manifest = json.loads(text)
        schema = _custom_schema(manifest)
        if schema is None:
            kubernetes_validate.validate(manifest, version, strict=True)
        else:
            jsonschema.validate(manifest, schema)

    def check(manifest: Manifest, version: str) -> None:
        text = json.dumps(manifest, sort_keys=True)
        # Most overlays have the same manifests but for this label.
        way = manifest.get("metadata", {}).get("labels", {}).get("fiveways/way")
        run(text.replace(f'"fiveways/way": "{way}"', '"fiveways/way": "any"'), version)

    return check


def _custom_schema(manifest: Manifest) -> Manifest | None:
    """Return the schema of a custom resource; None for what Kubernetes itself has."""
    group, _, version = manifest["apiVersion"].rpartition("/")
    if "." not in group or (group.endswith(".k8s.io") and not group.startswith("gateway.")):
        return None
    file = SCHEMAS / f"{manifest['kind'].lower()}-{group}-{version}.json"
    schema: Manifest = json.loads(file.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return schema


@pytest.fixture(scope="session")
def documented() -> dict[str, str]:
    """The kustomizations that k8s/README.md shows, by the components in them."""
    return dict(_documented((K8S / "README.md").read_text()))


def _documented(readme: str) -> Iterator[tuple[str, str]]:
    for block in readme.split("```yaml\n")[1:]:
        text = block.split("```")[0]
        components = yaml.safe_load(text)["components"]
        yield " ".join(Path(component).name for component in components), text
