"""Programs that tests run in a sandbox, each in a process of its own: a test's process has threads."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import missing

NOBODY = 65534
REPOSITORY = Path(__file__).parent.parent
TRAFFIC = REPOSITORY / "tests" / "lab_traffic.py"
PATIENCE_S = 60


def require_sandbox() -> None:
    """Skip (or fail, see conftest.missing) where this machine forbids the lab's namespaces."""
    tried = run_in_sandbox("true")
    if tried.returncode:
        missing(tried.stderr.strip())


def in_sandbox(*command: str | Path) -> list[str]:
    """Return what runs a command in a sandbox of its own."""
    return [sys.executable, "-m", "loadgen.sandbox", "--", *map(str, command)]


def run_in_sandbox(*command: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run a command in a sandbox of its own."""
    return run(in_sandbox(*command), **options)


def run(command: list[str], **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run a command and return what it printed, and its exit status."""
    return subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd=REPOSITORY, **options
    )


def run_as_nobody(*command: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run a command in a sandbox that an ordinary user enters; skip where none can run this checkout."""
    if os.geteuid() != 0:
        return run_in_sandbox(*command)
    places = [str(REPOSITORY), *(place for place in sys.path if place.endswith("site-packages"))]
    environment = {"PATH": os.defpath, "PYTHONPATH": ":".join(places), "PYTHONDONTWRITEBYTECODE": "1"}
    ordinary = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "env": environment}
    for python in (sys.executable, shutil.which("python3", path="/usr/local/bin:/usr/bin")):
        words = [str(python) if word == sys.executable else str(word) for word in in_sandbox(*command)]
        try:
            if run([words[0], "-c", "import loadgen.lab"], **ordinary).returncode == 0:
                return run(words, **ordinary)
        except OSError:
            continue
    pytest.skip("root runs this, and nobody else may read this checkout and its Python")
