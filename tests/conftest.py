"""What every test may ask for: the shared reads, and tools that the machine may lack."""

import os
import shutil
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip because the machine lacks `what`, or fail where CI says that nothing may be lacking."""
    if os.environ.get("FIVEWAYS_REQUIRE_TOOLS"):
        pytest.fail(f"FIVEWAYS_REQUIRE_TOOLS is set, and this machine lacks {what}")
    pytest.skip(f"this machine lacks {what}")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real reads, where FIVEWAYS_SHARED names the one that holds it."""
    folder = os.environ.get("FIVEWAYS_SHARED")
    if not folder:
        pytest.skip("FIVEWAYS_SHARED is not set: tests on real reads are skipped")
    return Path(folder) / "reads"


@pytest.fixture(scope="session")
def mappy() -> None:
    """That mappy is installed, which needs a C compiler."""
    if not find_spec("mappy"):
        missing("mappy")


@pytest.fixture(scope="session")
def kubectl() -> str:
    """The path of kubectl, for what is rendered by kustomize."""
    return shutil.which("kubectl") or missing("kubectl")


@pytest.fixture(scope="session")
def ipv6() -> None:
    """That ::1 can be listened on, which containers often lack."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        missing("IPv6")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium, for tests that look at pages."""
    return shutil.which("chromium") or shutil.which("google-chrome") or missing("chromium")


@pytest.fixture
def artefacts(tmp_path: Path) -> Path:
    """Where a test leaves what people may want to look at: the folder that FIVEWAYS_ARTEFACTS names, if
    any."""
    folder = os.environ.get("FIVEWAYS_ARTEFACTS")
    if not folder:
        return tmp_path
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)
