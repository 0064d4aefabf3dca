import ast
import fnmatch
import http.server
import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
from conftest import missing
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OPTIONAL = {"pyslow5"}
"""Imported where a read needs it, and not in the image: it is built from source, by a C compiler."""
ALONE = {"pod5", "fiveways"}
"""Installed without what they depend on."""
IMPORTS = """
import importlib, json, sys
absent = set(json.loads(sys.argv[1]))
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"the image has no {name}")
sys.meta_path.insert(0, Absent())
import locust  # replaces much of the standard library, so first
import pod5
for name in json.loads(sys.argv[2]):
    importlib.import_module(name)
files = {name: getattr(module, "__file__", "") for name, module in sys.modules.items()}
print(json.dumps({name: file for name, file in files.items() if file}))
"""
RUN = [
    *("loadgen.basecall", "loadgen.cluster.relay", "loadgen.cluster.probe"),
    # What a guard runs in a process of its own, and what that looks for by name.
    *("reads.decoder", "reads.fast5", "reads.pod5_file", "reads.slow5"),
]
"""What runs in the load generator's image."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the Dockerfile: its name and its instructions."""

    name: str
    steps: tuple[tuple[str, str], ...]

    def all(self, instruction: str) -> list[str]:
        return [rest for word, rest in self.steps if word == instruction]


def parse(text: str) -> Iterator[tuple[str, str]]:
    """Yield instructions with their arguments, lines joined."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for line in re.sub(r"\\\n\s*", "", lines).splitlines():
        if line.strip():
            word, _, rest = line.partition(" ")
            yield word, rest.strip()


@pytest.fixture(scope="module")
def stages(root: Path) -> dict[str, Stage]:
    """The stages of the Dockerfile, by name."""
    found: dict[str, Stage] = {}
    name, steps = "", []
    for word, rest in [*parse((root / "Dockerfile").read_text()), ("FROM", " AS ")]:
        if word == "FROM":
            if name:
                found[name] = Stage(name, tuple(steps))
            name, steps = rest.partition(" AS ")[2], []
        steps.append((word, rest))
    return found


@pytest.fixture(scope="module")
def listed(stages: dict[str, Stage]) -> set[str]:
    """The distributions that are installed for the load generator with what they depend on."""
    command = next(run for run in stages["loadgen-environment"].all("RUN") if "locust" in run)
    return set(command.partition("/constraints.txt ")[2].split())


@pytest.fixture(scope="module")
def installed(listed: set[str]) -> set[str]:
    """All that is in the load generator's image."""
    found: set[str] = set()
    waiting = [Requirement(name) for name in listed]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in found:
            continue
        found.add(name)
        for text in requires(name) or ():
            needed = Requirement(text)
            if needed.marker is None or any(
                needed.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)
            ):
                waiting.append(needed)
    return found | ALONE


def test_it_has_two_images_of_one_base(stages: dict[str, Stage], root: Path) -> None:
    begins = {name: stage.all("FROM")[0].partition(" ")[0] for name, stage in stages.items()}
    assert begins == {
        "tools": "${BASE_IMAGE}",
        "wheel": "tools",
        "service-environment": "${BASE_IMAGE}",
        "loadgen-environment": "tools",
        "loadgen-files": "loadgen-environment",
        "loadgen": "scratch",
        "service": "${BASE_IMAGE}",
    }
    first = next(parse((root / "Dockerfile").read_text()))
    base = re.fullmatch(r"BASE_IMAGE=docker\.io/library/python:3\.(\d+)-slim-bookworm", first[1])
    assert first[0] == "ARG"
    assert base
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert f"Programming Language :: Python :: 3.{base[1]}" in project["classifiers"]


def test_it_copies_what_exists_and_all_of_the_project(stages: dict[str, Stage], root: Path) -> None:
    copied = {source for copy in stages["wheel"].all("COPY") for source in copy.split()[:-1]}
    assert all((root / source).exists() for source in copied)
    packaging = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert {package.split(".")[0] for package in packaging["packages"]["find"]["include"]} <= copied
    assert {module + ".py" for module in packaging["py-modules"]} <= copied
    assert {"pyproject.toml", "constraints.txt", "LICENSE"} <= copied


def test_only_what_it_copies_is_sent_to_the_builder(stages: dict[str, Stage], root: Path) -> None:
    copied = {
        source
        for stage in stages.values()
        for copy in stage.all("COPY")
        if not copy.startswith("--from")
        for source in copy.split()[:-1]
    }
    rules = [line for line in (root / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied
    assert rules[-1] == "**/__pycache__"


def test_everything_is_installed_at_the_version_of_the_constraints(
    stages: dict[str, Stage], listed: set[str], root: Path
) -> None:
    runs = [run for stage in stages.values() for run in stage.all("RUN")]
    installs = [run for run in runs if "pip" in run and "install" in run]
    assert len(installs) == 5
    for run in installs:
        assert re.search(r"--constraint /?constraints\.txt", run)
        assert re.search(r'--index-url "\$(TORCH_)?INDEX"', run)
    pinned = {
        canonicalize_name(line.partition("==")[0])
        for line in (root / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    assert {canonicalize_name(name) for name in listed} | {"torch", "setuptools", "pod5"} <= pinned


@pytest.fixture(scope="module")
def left_out(stages: dict[str, Stage]) -> list[str]:
    """Patterns of what is installed, and not in the load generator's image."""
    (run,) = (run for run in stages["loadgen-files"].all("RUN") if "/left-out" in run)
    return shlex.split(run.partition("printf '%s\\n' ")[2].partition(" > /left-out")[0])


@pytest.fixture(scope="module")
def loaded(installed: set[str], left_out: list[str], root: Path) -> dict[str, Path]:
    """The files of the modules that are imported in the load generator's image, which lacks much that is
    installed here."""
    absent = {
        module
        for module, names in packages_distributions().items()
        if not {canonicalize_name(name) for name in names} & installed
    }
    assert {"torch", "polars", "matplotlib", "numba", "scipy"} <= absent
    absent |= {pattern.removeprefix("*/") for pattern in left_out} - {"test", "tests"}
    command = [sys.executable, "-c", IMPORTS, json.dumps(sorted(absent)), json.dumps(RUN)]
    done = subprocess.run(command, check=False, cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return {name: Path(file) for name, file in json.loads(done.stdout.splitlines()[-1]).items()}


def test_the_load_generator_has_what_it_imports(listed: set[str], loaded: dict[str, Path]) -> None:
    ours = {"reads", "models", "service", "loadgen"}
    distributions = packages_distributions()
    needed = set()
    for name, path in loaded.items():
        if name.split(".")[0] in {"loadgen", "reads"}:
            for module in imported(path):
                if module not in ours | OPTIONAL | set(sys.stdlib_module_names):
                    needed.add(canonicalize_name(distributions[module][0]))
    assert {"locust", "numpy"} < needed
    assert needed - ALONE <= listed


def test_nothing_is_left_out_that_is_imported(left_out: list[str], loaded: dict[str, Path]) -> None:
    assert {"*/tests", "*/pyarrow/*_flight*"} <= set(left_out)
    assert {"pyarrow.lib", "pod5.signal_tools", "numpy", "gevent"} <= loaded.keys()
    for pattern in left_out:
        # tar leaves out what is in a folder with it.
        assert not fnmatch.filter(map(str, loaded.values()), pattern)
        assert not fnmatch.filter(map(str, loaded.values()), f"{pattern}/*")


def test_the_image_is_tried_while_it_is_built(stages: dict[str, Stage]) -> None:
    # There is no shell in it.
    (trial,) = stages["loadgen"].all("RUN")
    python, option, program = json.loads(trial)
    assert (python, option) == ("python", "-c")
    compile(program, "Dockerfile", "exec")
    steps = [word for word, _ in stages["loadgen"].steps]
    assert steps.index("USER") < steps.index("RUN")


def imported(path: Path) -> Iterator[str]:
    """Yield the top-level modules that a file imports, also those that it imports by name."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                yield from (name.name.split(".")[0] for name in names)
            case ast.ImportFrom(module=str(module)):
                yield module.split(".")[0]
            case ast.Call(func=ast.Name(id="import_module"), args=[ast.Constant(value=str(name))]):
                yield name.split(".")[0]


def test_the_load_generator_has_neither_torch_nor_a_web_framework_for_services(installed: set[str]) -> None:
    assert not {"torch", "fastapi", "uvicorn", "safetensors", "polars"} & installed


def test_nobody_is_root_and_the_pods_say_the_same_number(stages: dict[str, Stage], render: Any) -> None:
    base = render("base")
    for name, pods in (
        ("service", ["Deployment/fiveways"]),
        ("loadgen", ["Job/fiveways-master", "Job/fiveways-worker"]),
    ):
        assert stages[name].all("USER") == ["65532:65532"]
        for pod in pods:
            security = base.pods[pod]["spec"]["securityContext"]
            assert f"{security['runAsUser']}:{security['runAsGroup']}" == "65532:65532"


def test_caches_are_written_where_pods_may_write(stages: dict[str, Stage]) -> None:
    for name in ("service", "loadgen"):
        (variables,) = stages[name].all("ENV")
        assert "HOME=/tmp" in variables.split()
        assert stages[name].all("WORKDIR") == ["/tmp"]  # noqa: S108 - the container's own


def test_it_runs_what_the_pods_give_arguments_to(stages: dict[str, Stage], render: Any) -> None:
    assert [json.loads(entry) for entry in stages["service"].all("ENTRYPOINT")] == [["fiveways"]]
    assert json.loads(stages["service"].all("CMD")[0]) == render("base").server["args"]
    assert [json.loads(entry) for entry in stages["loadgen"].all("ENTRYPOINT")] == [["locust"]]
    (locustfile,) = re.findall(r"LOCUST_LOCUSTFILE=(\S+)", stages["loadgen"].all("ENV")[0])
    (link,) = (run for run in stages["loadgen-environment"].all("RUN") if run.startswith("ln -s"))
    assert link.split()[-1] == locustfile
    assert link.split()[-2].endswith("/loadgen/basecall.py")


def test_it_exposes_the_ports_that_the_pods_name(stages: dict[str, Stage], render: Any) -> None:
    base = render("base")
    (master,) = base.pods["Job/fiveways-master"]["spec"]["containers"]
    assert stages["service"].all("EXPOSE") == [str(base.server["ports"][0]["containerPort"])]
    assert stages["loadgen"].all("EXPOSE") == [str(master["ports"][0]["containerPort"])]


def test_it_says_what_it_is(stages: dict[str, Stage], root: Path) -> None:
    licence = tomllib.loads((root / "pyproject.toml").read_text())["project"]["license"]
    for name in ("service", "loadgen"):
        (labels,) = stages[name].all("LABEL")
        said = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', labels))
        assert set(said) == {"title", "description", "licenses", "version", "revision"}
        assert said["licenses"] == licence
        assert (said["version"], said["revision"]) == ("${VERSION}", "${REVISION}")


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_healthcheck_asks_the_service_how_it_is(
    status: int, healthy: bool, stages: dict[str, Stage]
) -> None:
    asked = []

    class Answering(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    (check,) = stages["service"].all("HEALTHCHECK")
    python, *arguments = json.loads(check.partition("CMD ")[2])
    assert python == "python"
    with http.server.HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        environment = {"FIVEWAYS_PORT": str(server.server_port)}
        done = subprocess.run(
            [sys.executable, *arguments], check=False, env=environment, capture_output=True, timeout=60
        )
        thread.join()
    assert (done.returncode == 0) == healthy
    assert asked == ["/healthz"]


@pytest.mark.parametrize("builder", ["docker", "buildah"])
def test_make_image_builds_the_images_that_the_pods_name(builder: str, root: Path, render: Any) -> None:
    make = shutil.which("make") or missing("make")
    done = subprocess.run(
        [make, "-n", "image", f"BUILDER={builder}", "TORCH_INDEX=https://download.pytorch.org/whl/cu130"],
        check=False,
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    script = " ".join(done.stdout.replace("\\\n", " ").split())
    targets = re.findall(r"for target in ([a-z ]+);", script)[0].split()
    tag = re.findall(r"--tag (\S+)", script)[0]
    made = {tag.replace("$target", target) for target in targets}
    pods = render("base").pods.values()
    assert made == {container["image"] for pod in pods for container in pod["spec"]["containers"]}
    assert "--target $target" in script
    assert "--build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130" in script
    assert "BASE_IMAGE" not in script
    # buildah's own format has no healthcheck.
    assert ("--format docker" in script) == (builder == "buildah")


def test_build_arguments_of_make_are_arguments_of_the_dockerfile(root: Path) -> None:
    declared = {
        rest.split("=")[0] for word, rest in parse((root / "Dockerfile").read_text()) if word == "ARG"
    }
    makefile = (root / "Makefile").read_text()
    passed = set(re.findall(r"--build-arg ([A-Z_]+)=", makefile))
    passed |= set(re.findall(r"foreach name,([A-Z_ ]+),", makefile)[0].split())
    assert passed == declared
