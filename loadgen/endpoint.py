"""The service of an experiment, seen from outside: whether it answers, and what it says of itself.

Speaks HTTP from the network namespace of a path; never imports the service.
"""

import time
from contextlib import nullcontext

import httpx

from loadgen.child import Child
from loadgen.errors import ExperimentError
from loadgen.facts import Fact
from loadgen.netns import entered
from loadgen.paths import Path

READY_S = 180.0
"""How long a service may take until it has loaded its model and called with it."""
ASK_AGAIN_S = 0.25
ANSWER_S = 5.0
"""How long a path may take to answer a small question."""


def wait_until_ready(path: Path, server: Child) -> None:
    """Return once `server` says over `path` that it is ready. Raises ExperimentError."""
    give_up_s = time.monotonic() + READY_S
    while problem := _unreadiness(path):
        server.check()
        if time.monotonic() > give_up_s:
            words = server.last_words()
            raise ExperimentError(f"no service after {READY_S:g} s: {problem}; its log ends\n{words}")
        server.ended(within_s=ASK_AGAIN_S)


def check_paths(paths: tuple[Path, ...]) -> None:
    """Return if a service is ready behind every path. Raises ExperimentError, which names the others."""
    problems = [f"{path.name} ({path.url}): {problem}" for path in paths if (problem := _unreadiness(path))]
    if problems:
        raise ExperimentError("no service is ready behind " + "; nor behind ".join(problems))


def _unreadiness(path: Path) -> str:
    """Say why the service behind `path` is not ready; nothing if it is."""
    try:
        answer = _get(path, "/readyz")
    except (httpx.HTTPError, OSError) as error:
        return str(error) or type(error).__name__
    return "" if answer.is_success else f"/readyz says {answer.status_code}"


def service_facts(path: Path) -> tuple[Fact, ...]:
    """Return what the service says of the models it has."""
    source = "GET /v1/models"
    try:
        answer = _get(path, "/v1/models")
        answer.raise_for_status()
        return tuple(
            Fact(f"model {model['name']}, {name}", str(value), source)
            for model in answer.json()["models"]
            for name, value in model.items()
            if name != "name" and isinstance(value, str | int | float)
        )
    except (httpx.HTTPError, OSError, KeyError, TypeError, ValueError):
        return ()


def _get(path: Path, endpoint: str) -> httpx.Response:
    # A socket belongs to the namespace its thread is in when it is opened.
    with entered(path.netns) if path.netns else nullcontext():
        return httpx.get(path.url + endpoint, timeout=ANSWER_S, trust_env=False, verify=False)  # noqa: S501
