"""A service seen from outside: whether it is ready over a path, and what it says of itself."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path as File

import pytest

from loadgen import endpoint
from loadgen.child import Child
from loadgen.endpoint import check_paths, service_facts, wait_until_ready
from loadgen.errors import ExperimentError
from loadgen.facts import Fact
from loadgen.paths import Path

MODELS = {"models": [{"name": "tiny", "sample_rate": 4000.0, "default": True, "devices": ["cpu"]}]}
GOES_ON = [sys.executable, "-c", "import signal; print('loading', flush=True); signal.pause()"]


class Answers(BaseHTTPRequestHandler):
    """Is ready when it has been asked as often as the server says."""

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Small)
        if self.path == "/v1/models":
            self.answer(200, json.dumps(server.models).encode())
        else:
            server.asked += 1
            self.answer(200 if server.asked >= server.ready_after else 503, b"")

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server names it
        """Say nothing."""


class Small(ThreadingHTTPServer):
    asked = 0
    models: object = MODELS

    def __init__(self, ready_after: int) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.ready_after = ready_after
        self.way = Path("host", "", "", f"http://127.0.0.1:{self.server_port}")


@contextmanager
def serving(ready_after: int = 1) -> Iterator[Small]:
    with Small(ready_after) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_a_service_is_asked_until_it_is_ready(tmp_path: File) -> None:
    with serving(ready_after=3) as server, Child(GOES_ON, tmp_path / "log") as program:
        wait_until_ready(server.way, program)
        assert server.asked == 3


def test_a_service_that_ends_meanwhile_is_not_waited_for(tmp_path: File) -> None:
    dies = [sys.executable, "-c", "raise SystemExit('no such model')"]
    with (
        serving(ready_after=10**6) as server,
        Child(dies, tmp_path / "log") as program,
        pytest.raises(ExperimentError, match="no such model"),
    ):
        wait_until_ready(server.way, program)


def test_a_service_that_never_is_ready_is_given_up(tmp_path: File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "READY_S", 0.0)
    with (
        serving(ready_after=10**6) as server,
        Child(GOES_ON, tmp_path / "log") as program,
        pytest.raises(ExperimentError, match="no service after 0 s: /readyz says 503"),
    ):
        wait_until_ready(server.way, program)


def test_every_path_without_a_service_is_named() -> None:
    nowhere = Path("svc", "", "", "http://127.0.0.1:9")
    with serving() as server, serving(ready_after=10**6) as unready:
        check_paths((server.way,))
        with pytest.raises(ExperimentError) as caught:
            check_paths((server.way, nowhere, Path("late", "", "", unready.way.url)))
        late = unready.way.url
    assert str(caught.value) == (
        "no service is ready behind svc (http://127.0.0.1:9): [Errno 111] Connection refused;"
        f" nor behind late ({late}): /readyz says 503"
    )


def test_what_a_service_says_of_its_models_are_facts() -> None:
    with serving() as server:
        assert service_facts(server.way) == (
            Fact("model tiny, sample_rate", "4000.0", "GET /v1/models"),
            Fact("model tiny, default", "True", "GET /v1/models"),
        )


@pytest.mark.parametrize("models", [{}, [], {"models": [{}]}, "text"])
def test_a_service_that_says_nothing_of_its_models_leaves_no_facts(models: object) -> None:
    with serving() as server:
        server.models = models
        assert service_facts(server.way) == ()
