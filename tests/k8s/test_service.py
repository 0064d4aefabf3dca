import os
import re
import tomllib
from itertools import chain
from typing import Any

import httpx
import pytest
import typer
from live_service import serving

import fiveways
from service.engine import JOIN_S
from service.server import CLOSE_S
from service.settings import Settings

ENGINE_THREADS = 2 * 3
"""What is joined at the end, one after the other: three threads for the model and three for the null one."""
PROGRAM_MIB = 1024
"""What the service takes beside the signal that it holds, at most: torch, a model and a batch."""
QUANTITY = {"Mi": 1, "Gi": 1024}


def mib(quantity: str) -> int:
    return int(quantity[:-2]) * QUANTITY[quantity[-2:]]


def settings(rendered: Any, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return what the service makes of the variables that its pod gets."""
    for name in [name for name in os.environ if name.startswith("FIVEWAYS_")]:
        monkeypatch.delenv(name)
    command = typer.main.get_command(fiveways.app).commands["serve"]  # type: ignore[attr-defined]
    variables = rendered.one("ConfigMap")["data"]
    assert set(variables) <= {parameter.envvar for parameter in command.params}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with command.make_context("serve", []) as context:
        said = {name: value for name, value in context.params.items() if name != "fd"}
    return Settings(**said | {"model": said["model"] or "null"})


def test_the_settings_are_ones_that_the_service_takes(
    overlay: str, render: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = settings(render(f"overlays/{overlay}"), monkeypatch)
    assert told.host == "0.0.0.0"  # noqa: S104 - of a pod, which is all there is behind its address
    assert told.device == "cpu"


def test_it_listens_on_the_port_that_everything_else_says(
    overlay: str, render: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered = render(f"overlays/{overlay}")
    port = settings(rendered, monkeypatch).port
    assert rendered.server["ports"] == [{"name": "http", "containerPort": port}]
    for service in rendered.of("Service"):
        if service["spec"]["selector"]["app.kubernetes.io/name"] == "fiveways":
            assert service["spec"]["ports"] == [{"name": "http", "port": port, "targetPort": "http"}]


def test_a_service_of_its_name_does_not_become_its_settings(overlay: str, render: Any) -> None:
    # Kubernetes would set FIVEWAYS_PORT=tcp://10.96.0.1:8000 in every pod of the namespace.
    for pod in render(f"overlays/{overlay}").pods.values():
        assert pod["spec"]["enableServiceLinks"] is False


def test_the_pod_is_not_killed_before_it_has_drained(
    overlay: str, render: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered = render(f"overlays/{overlay}")
    pause_s = rendered.server["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain_s = settings(rendered, monkeypatch).drain_s
    grace_s = rendered.pods["Deployment/fiveways"]["spec"]["terminationGracePeriodSeconds"]
    assert pause_s > 0
    assert grace_s > pause_s + drain_s + CLOSE_S + ENGINE_THREADS * JOIN_S


def test_what_it_admits_fits_its_memory(overlay: str, render: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = render(f"overlays/{overlay}")
    told = settings(rendered, monkeypatch)
    resources = rendered.server["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    assert mib(resources["limits"]["memory"]) >= told.max_signal_mib + PROGRAM_MIB


def test_no_quota_stops_streams_that_are_started_one_a_core(overlay: str, render: Any) -> None:
    assert "cpu" not in render(f"overlays/{overlay}").server["resources"]["limits"]


def test_the_probes_ask_what_the_service_answers(render: Any) -> None:
    server = render("overlays/dev-cpu").server
    probes = {name: server[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert {probe["port"] for probe in probes.values()} == {"http"}
    with serving() as running:
        for name, probe in probes.items():
            assert httpx.get(running.url + probe["path"]).status_code == 200, name
        assert running.service.healthy
    assert probes["livenessProbe"]["path"] == "/healthz"


def test_a_service_that_drains_or_loads_is_left_alone_by_the_liveness_probe(render: Any) -> None:
    server = render("overlays/dev-cpu").server
    assert server["readinessProbe"]["httpGet"]["path"] != server["livenessProbe"]["httpGet"]["path"]
    start = server["startupProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] >= 300


def test_selectors_use_name_and_instance_only_and_find_their_pods(overlay: str, render: Any) -> None:
    rendered = render(f"overlays/{overlay}")
    labels = {name: pod["metadata"]["labels"] for name, pod in rendered.pods.items()}
    for manifest in rendered.manifests:
        selector = manifest.get("spec", {}).get("selector")
        if selector is None:
            continue
        selector = selector.get("matchLabels", selector)
        assert set(selector) == {"app.kubernetes.io/name", "app.kubernetes.io/instance"}
        found = [name for name, has in labels.items() if selector.items() <= has.items()]
        assert len(found) == 1, f"{manifest['kind']} {manifest['metadata']['name']} selects {found}"


def test_a_disruption_takes_one_pod_at_a_time_and_never_blocks_a_drain(render: Any) -> None:
    budget = render("base").one("PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert "minAvailable" not in budget


def test_images_are_of_this_version(overlay: str, render: Any, root: Any) -> None:
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    rendered = render(f"overlays/{overlay}")
    images = {container["image"] for pod in rendered.pods.values() for container in pod["spec"]["containers"]}
    assert images == {f"fiveways-service:{version}", f"fiveways-loadgen:{version}"}
    for manifest in chain(rendered.of("Deployment"), rendered.of("Job")):
        assert manifest["metadata"]["labels"]["app.kubernetes.io/version"] == version


def test_pods_have_no_token_of_the_api_server(overlay: str, render: Any) -> None:
    rendered = render(f"overlays/{overlay}")
    accounts = {account["metadata"]["name"] for account in rendered.of("ServiceAccount")}
    for pod in rendered.pods.values():
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["serviceAccountName"] in accounts


def test_the_readme_says_which_kubernetes_the_manifests_need(k8s: Any) -> None:
    assert re.search(r"Kubernetes 1\.30 or newer", (k8s / "README.md").read_text())
