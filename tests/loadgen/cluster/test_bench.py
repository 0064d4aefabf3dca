"""`fiveways bench cluster` as people type it, against a small API server whose pods are real processes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE

import kube_api
import pytest
import wire_server
import yaml
from kube_api import KubeApi, Plain
from kubelet import Kubelet, overlays_for
from typer.testing import CliRunner, Result

from fiveways import app
from loadgen.cluster.jobs import RELAY
from loadgen.results import BLOCKS, load

FIVEWAYS = str(Path(sys.executable).with_name("fiveways"))
PATIENCE_S = 400.0
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

    def bench(self, *words: str) -> Result:
        """Run it in this process, which saves the imports."""
        return CliRunner().invoke(app, self.command(*SHORT, *words)[1:])

    def left(self) -> list[str]:
        """What is in the cluster besides its nodes."""
        return sorted("/".join(filter(None, key)) for key in self.api.objects if key[0] != "nodes")

    @contextmanager
    def started(self, *words: str) -> Iterator["subprocess.Popen[str]"]:
        """Begin a run, to be ended in some other way than by itself."""
        command = self.command(*SHORT, "--budget-s", "600", *words)
        with subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=PIPE, stderr=PIPE, text=True
        ) as program:
            try:
                yield program
            finally:
                program.kill()

    def relayed(self) -> bool:
        """Say whether the master's relay has said something."""
        logs = list(self.api.logs.items())
        return any(log.lines for (*_, container), log in logs if container == RELAY)

    def blocks(self) -> int:
        """Count the blocks that are written down."""
        return sum(file.read_bytes().count(b"\n") for file in self.folder.glob(f"results/*/{BLOCKS}"))


def wait_while_running(program: "subprocess.Popen[str]", until: Callable[[], bool]) -> None:
    """Wait until something is so, for as long as `program` runs."""
    give_up_s = time.monotonic() + PATIENCE_S
    while not until():
        assert program.poll() is None, program.communicate()
        assert time.monotonic() < give_up_s
        time.sleep(0.1)


@pytest.fixture
def place(tmp_path: Path, kubectl: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    with wire_server.serving() as service, kube_api.serving() as api, Kubelet(tmp_path) as kubelet:
        api.on_pod, api.on_delete = kubelet.run, kubelet.stop
        api.add_node("a", "127.0.0.1")
        api.add_node("b", "127.0.0.1")
        kubeconfig = str(api.kubeconfig(tmp_path))
        monkeypatch.setenv("KUBECONFIG", kubeconfig)
        monkeypatch.chdir(tmp_path)
        environment = {**os.environ, "KUBECONFIG": kubeconfig}
        yield Place(api, kubelet, overlays_for(service.server_port, tmp_path), environment, tmp_path)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_run_survives_cuts_is_stopped_goes_on_and_leaves_nothing(place: Place) -> None:
    place.api.cut_logs_after = 2
    with place.started(*PATHS) as program:
        wait_while_running(program, lambda: place.blocks() >= 4)
        place.api.refuse_connections(for_s=1.0)
        wait_while_running(program, lambda: place.blocks() >= 10)
        program.send_signal(signal.SIGINT)
        _, said = program.communicate(timeout=PATIENCE_S)
    assert program.returncode == 130, said
    assert "stopped; this is the report of what was measured" in said
    assert place.left() == []
    assert place.kubelet.running == 0
    (folder,) = place.folder.glob("results/*")
    run = load(folder)
    assert run.setup.kind == "cluster"
    assert [(path.name, path.attach) for path in run.setup.plan.paths] == [
        ("host/hostip", "host"),
        ("host/hostip-again", "host"),
        (f"{WAY}/podip", "pod"),
        (f"{WAY}/clusterip", "pod"),
    ]
    # Neither twice nor left out, wherever the log was cut.
    places = [(o.round, o.position) for o in run.observations]
    assert places == [(number // 4, number % 4) for number in range(len(places))]
    # A machine that is busy with other things may void blocks; users and bases are all there.
    assert {o.users for o in run.observations} == {2}
    assert all(o.server_bases == o.total.bases > 0 for o in run.observations)
    facts = {(fact.name, fact.path): fact.value for fact in run.facts}
    assert facts["Kubernetes", None] == "v1.36.1"
    assert facts["MTU", f"{WAY}/podip"] == "65535 bytes"
    assert facts["translation of the Service", f"{WAY}/clusterip"] == "packet by packet (DNAT)"
    assert facts["SNAT", f"{WAY}/clusterip"] == "none"

    shorten(folder, rounds=len(run.rounds) + 1)
    resumed = CliRunner().invoke(app, ["bench", "cluster", "--resume", str(folder)])
    assert resumed.exit_code == 0, resumed.stderr
    assert re.search(rf"{WAY}/clusterip +[\d,]+ ", resumed.stdout)
    gone_on = load(folder)
    assert gone_on.observations[: len(run.observations)] == run.observations
    assert len(gone_on.rounds) == len(run.rounds) + 1
    assert (folder / "report.html").exists()
    assert place.left() == []


def shorten(folder: Path, *, rounds: int) -> None:
    """Have a run that was stopped end after so many rounds."""
    document = json.loads((folder / "results.json").read_text())
    document["run"]["rounds_planned"] = document["run"]["setup"]["plan"]["rounds"] = rounds
    (folder / "results.json").write_text(json.dumps(document))


def test_sigterm_while_pods_are_waited_for_leaves_nothing(place: Place) -> None:
    place.api.on_pod = lambda _api, _pod: None
    with place.started() as program:
        assert program.stderr
        for line in program.stderr:
            if "waiting for" in line:
                break
        program.send_signal(signal.SIGTERM)
        _, said = program.communicate(timeout=PATIENCE_S)
    assert program.returncode == 130, said
    assert place.left() == []


def test_an_api_server_that_goes_away_ends_the_run_with_a_report_and_says_what_is_left(place: Place) -> None:
    with place.started(*PATHS) as program:
        wait_while_running(program, place.relayed)
        place.api.refuse_connections()
        _, said = program.communicate(timeout=PATIENCE_S)
    assert program.returncode == 1, said
    assert "has not answered for 2 s" in said
    assert list(place.folder.glob("results/*/report.html"))
    assert "`kubectl delete namespace fiveways-bench fiveways-bench-host`" in said


def never_ready(api: KubeApi, pod: Plain) -> None:
    """Servers whose image nobody has; an event says more."""
    status = {"name": "service", "ready": False, "restartCount": 0}
    waiting = {
        "waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "fiveways-service"'}
    }
    api.set_status(pod, phase="Pending", containerStatuses=[{**status, "state": waiting}])


def test_pods_that_never_become_ready_are_given_up_with_the_reason_in_words(place: Place) -> None:
    place.api.on_pod = never_ready
    ended = place.bench("--wait-s", "1")
    assert ended.exit_code == 1
    assert 'service waits, ImagePullBackOff: Back-off pulling image "fiveways-service"' in ended.stderr
    assert "after 1 s fiveways-bench-host/Deployment fiveways is not ready" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert place.left() == []


def test_what_may_not_be_done_is_named_before_anything_is_made(place: Place) -> None:
    place.api.denied = lambda what: (what["resource"], what["verb"]) in {("jobs", "create"), ("pods", "get")}
    ended = place.bench()
    assert ended.exit_code == 1
    for access in ("get pods", "get pods/log", "create jobs.batch"):
        for namespace in ("fiveways-bench", "fiveways-bench-host"):
            assert re.search(rf"{access} in {namespace}[;.]", ended.stderr), ended.stderr
    assert "--rbac" in ended.stderr
    assert not any(method in {"PATCH", "DELETE"} for method, _ in place.api.asked)


def test_a_request_that_is_forbidden_is_told_in_the_servers_words(place: Place) -> None:
    place.api.refused = lambda method, path: method == "PATCH" and path.endswith("/deployments/fiveways")
    ended = place.bench()
    assert ended.exit_code == 1
    assert 'the API server says 403: User "tester" cannot PATCH' in ended.stderr
    assert place.left() == []


def test_another_runs_namespace_is_left_alone(place: Place) -> None:
    label = {"app.kubernetes.io/instance": "bench-00000000"}
    place.api.add(
        "namespaces", {"kind": "Namespace", "metadata": {"name": "fiveways-bench", "labels": label}}
    )
    ended = place.bench()
    assert ended.exit_code == 1
    assert "namespace fiveways-bench is that of another run (bench-00000000)" in ended.stderr
    assert place.left() == ["namespaces/fiveways-bench"]


def test_namespaces_that_were_there_stay_and_what_is_in_them_is_not_changed(place: Place) -> None:
    for name in ("fiveways-bench", "fiveways-bench-host"):
        place.api.add("namespaces", {"kind": "Namespace", "metadata": {"name": name}})
    place.api.on_pod = never_ready
    assert place.bench("--wait-s", "1").exit_code == 1
    assert place.left() == ["namespaces/fiveways-bench", "namespaces/fiveways-bench-host"]
    theirs = {
        "kind": "Deployment",
        "metadata": {"name": "fiveways", "namespace": "fiveways-bench"},
        "spec": 1,
    }
    place.api.add("deployments", theirs)
    ended = place.bench()
    assert ended.exit_code == 1
    assert "Deployment fiveways is in namespace fiveways-bench already" in ended.stderr
    assert place.api.of("deployments") == [theirs]


def test_what_is_kept_is_said_with_how_to_delete_it(place: Place) -> None:
    place.api.on_pod = never_ready
    ended = place.bench("--wait-s", "1", "--keep")
    assert ended.exit_code == 1
    assert "`kubectl delete namespace fiveways-bench fiveways-bench-host`" in ended.stderr
    assert "deployments/fiveways-bench-host/fiveways" in place.left()


def test_the_role_that_is_printed_allows_what_is_asked_for(place: Place) -> None:
    ended = place.bench("--rbac")
    assert ended.exit_code == 0, ended.stderr
    role = yaml.safe_load(ended.stdout)
    assert (role["kind"], role["metadata"]["name"]) == ("ClusterRole", "fiveways-bench")
    allowed = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    asked: set[tuple[str, str, str]] = set()

    def note(what: dict[str, str]) -> bool:
        resource = "/".join(filter(None, (what["resource"], what["subresource"])))
        asked.add((what["group"], resource, what["verb"]))
        return False

    place.api.denied, place.api.on_pod = note, never_ready
    place.bench("--wait-s", "1")
    assert asked == allowed
    assert ("batch", "jobs", "create") in allowed


@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        (("--overlay", "flanel"), 2, "there is no overlay flanel"),
        (("--component", "warp-drive"), 2, "there is no component warp-drive"),
        (("--server-node", "z"), 1, "there is no node z; there are a, b"),
        (("--server-node", "a", "--client-node", "a"), 1, "within a node there is no network"),
        (("--context", "nowhere"), 1, "no cluster to talk to"),
        (("--path", "macvlan/net1ip"), 2, "there is no path macvlan/net1ip here"),
        (("--path", "host/hostip"), 2, "name a path to hold against host/hostip"),
        (("--arms", "modle"), 2, "arms are one or both of model, null"),
    ],
)
def test_what_is_used_wrongly_is_said_in_one_line(
    place: Place, words: tuple[str, ...], status: int, why: str
) -> None:
    ended = place.bench(*words)
    assert ended.exit_code == status, ended.stderr
    assert why in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not any(method == "PATCH" for method, _ in place.api.asked)
