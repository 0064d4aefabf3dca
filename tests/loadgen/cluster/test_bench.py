"""`fiveways bench cluster` as people type it, against a small API server whose pods are real processes."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import kube_api
import pytest
import wire_server
from kube_api import KubeApi
from kubelet import Kubelet, overlays_for

from loadgen.results import load

FIVEWAYS = str(Path(sys.executable).with_name("fiveways"))
PATIENCE_S = 240.0
WAY = "flannel-vxlan"
PATHS = ("--path", f"{WAY}/podip", "--path", f"{WAY}/clusterip")
SHORT = (
    *("--arms", "null", "--users", "2", "--block-s", "0.4", "--settle-s", "0.1"),
    *("--workers", "1", "--wait-s", "60", "--patience-s", "2"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """A cluster, and what is needed to use it."""

    api: KubeApi
    kubelet: Kubelet
    overlays: Path
    environment: dict[str, str]
    folder: Path

    def command(self, *words: str) -> list[str]:
        return [FIVEWAYS, "bench", "cluster", "--overlay", str(self.overlays / WAY), *words]

    def bench(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*SHORT, *words),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            cwd=self.folder,
            env=self.environment,
        )

    def left(self) -> list[str]:
        """What is in the cluster of any run, by its namespaces and labels."""
        return [
            f"{kind}/{namespace}/{name}"
            for kind, namespace, name in self.api.objects
            if kind != "nodes" and not name.startswith("kube")
        ]


@pytest.fixture
def place(tmp_path: Path, kubectl: str) -> Iterator[Place]:
    with wire_server.serving() as service, kube_api.serving() as api, Kubelet(tmp_path) as kubelet:
        api.on_pod, api.on_delete = kubelet.run, kubelet.stop
        api.add_node("a", "127.0.0.1")
        api.add_node("b", "127.0.0.1")
        environment = {**os.environ, "KUBECONFIG": str(api.kubeconfig(tmp_path))}
        yield Place(api, kubelet, overlays_for(service.server_port, tmp_path), environment, tmp_path)


def test_a_way_is_measured_and_nothing_is_left(place: Place) -> None:
    place.api.cut_logs_after = 2
    ended = place.bench(*PATHS, "--budget-s", "8")
    assert ended.returncode == 0, ended.stderr
    (folder,) = (place.folder / "results").iterdir()
    run = load(folder)
    assert run.setup.kind == "cluster"
    assert [path.name for path in run.setup.plan.paths] == [
        *("host/hostip", "host/hostip-again", f"{WAY}/podip", f"{WAY}/clusterip")
    ]
    assert [path.attach for path in run.setup.plan.paths] == ["host", "host", "pod", "pod"]
    places = [(o.round, o.position) for o in run.observations]
    assert places == [(o // 4, o % 4) for o in range(len(places))]
    assert len(run.rounds) >= 2
    assert all(not o.voids for o in run.observations), [o.voids for o in run.observations]
    facts = {(fact.name, fact.path): fact.value for fact in run.facts}
    assert facts["Kubernetes", None] == "v1.36.1"
    assert facts["MTU", f"{WAY}/podip"].endswith(" bytes")
    assert (folder / "report.html").exists()
    assert re.search(rf"{WAY}/clusterip +[\d,]+ ", ended.stdout)
    assert place.left() == []
    assert place.kubelet.running == 0
