import json
import re
import subprocess
import sys
from typing import Any

import pytest

OPTIONS = """
import json, sys
from locust.argument_parser import get_parser
import loadgen.basecall
parser = get_parser()
print(json.dumps({
    "variables": [action.env_var for action in parser._actions if getattr(action, "env_var", None)],
    "parsed": [vars(parser.parse_args(arguments)) for arguments in json.loads(sys.argv[1])],
}))
"""
"""Run in a process of its own: locust replaces much of the standard library with gevent's."""
JOBS = ("Job/fiveways-master", "Job/fiveways-worker")


@pytest.fixture(scope="module")
def locust(render: Any) -> dict[str, Any]:
    """What locust and the locustfile read from the environment, and make of the arguments of JOBS."""
    pods = render("base").pods
    arguments = [pods[job]["spec"]["containers"][0]["args"] for job in JOBS]
    command = [sys.executable, "-c", OPTIONS, json.dumps(arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def config(rendered: Any) -> dict[str, str]:
    data: dict[str, str] = rendered.one("ConfigMap", "fiveways-loadgen")["data"]
    return data


def test_no_load_is_made_before_somebody_asks_for_it(overlay: str, render: Any) -> None:
    jobs = render(f"overlays/{overlay}").of("Job")
    assert len(jobs) == 2
    for job in jobs:
        assert job["spec"]["suspend"] is True


def test_what_is_dialled_is_never_a_default(overlay: str, render: Any) -> None:
    # A default would be measured under the name of another target.
    rendered = render(f"overlays/{overlay}")
    assert "LOCUST_HOST" not in config(rendered)
    for name in JOBS:
        (container,) = rendered.pods[name]["spec"]["containers"]
        (host,) = (variable for variable in container["env"] if variable["name"] == "LOCUST_HOST")
        assert host["valueFrom"] == {"configMapKeyRef": {"name": "fiveways-loadgen", "key": "LOCUST_HOST"}}


def test_the_variables_are_ones_that_locust_and_the_locustfile_read(
    overlay: str, render: Any, locust: dict[str, Any]
) -> None:
    known = set(locust["variables"])
    assert set(config(render(f"overlays/{overlay}"))) <= known
    assert {"LOCUST_HOST", "LOCUST_MASTER_NODE_HOST", "FIVEWAYS_MODEL"} <= known


def test_locust_takes_the_arguments_of_its_jobs(render: Any, locust: dict[str, Any]) -> None:
    master, worker = locust["parsed"]
    assert (master["master"], master["headless"], master["worker"]) == (True, True, False)
    assert (worker["master"], worker["worker"]) == (False, True)
    for job in JOBS:
        # The image's entry point is locust, with the locustfile.
        assert "command" not in render("base").pods[job]["spec"]["containers"][0]


def test_the_master_expects_as_many_workers_as_there_are(overlay: str, render: Any) -> None:
    rendered = render(f"overlays/{overlay}")
    worker = rendered.one("Job", "fiveways-worker")["spec"]
    assert int(config(rendered)["LOCUST_EXPECT_WORKERS"]) == worker["parallelism"] == worker["completions"]


def test_workers_find_the_master_on_its_port(overlay: str, render: Any, locust: dict[str, Any]) -> None:
    rendered = render(f"overlays/{overlay}")
    (worker,) = rendered.pods["Job/fiveways-worker"]["spec"]["containers"]
    (master,) = rendered.pods["Job/fiveways-master"]["spec"]["containers"]
    (dialled,) = (v["value"] for v in worker["env"] if v["name"] == "LOCUST_MASTER_NODE_HOST")
    service = rendered.one("Service", dialled)
    port = locust["parsed"][1]["master_port"]
    assert service["spec"]["ports"] == [{"name": "locust", "port": port, "targetPort": "locust"}]
    assert master["ports"] == [{"name": "locust", "containerPort": port}]
    # Workers that start first keep asking for its name.
    assert service["spec"]["publishNotReadyAddresses"] is True


def test_the_load_never_comes_from_the_servers_node(overlay: str, render: Any) -> None:
    rendered = render(f"overlays/{overlay}")
    for name in JOBS:
        affinity = rendered.pods[name]["spec"].get("affinity")
        if overlay == "dev-cpu":
            assert affinity is None
            continue
        (term,) = affinity["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        server = rendered.pods["Deployment/fiveways"]["metadata"]["labels"]
        assert term["labelSelector"]["matchLabels"].items() <= server.items()
        # Of every instance: the baseline's server is in a namespace of its own.
        assert term["namespaceSelector"] == {}
        assert term["topologyKey"] == "kubernetes.io/hostname"


def test_a_failed_run_is_not_repeated_and_none_is_endless(render: Any) -> None:
    for job in render("base").of("Job"):
        assert job["spec"]["backoffLimit"] == 0
        assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
        assert job["spec"]["activeDeadlineSeconds"] > 0


def test_the_readme_starts_the_jobs_that_there_are(render: Any, k8s: Any) -> None:
    started = set(re.findall(r"patch job (\S+) --type merge", (k8s / "README.md").read_text()))
    assert started == {job["metadata"]["name"] for job in render("base").of("Job")}
