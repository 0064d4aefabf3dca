"""What a client promises: an answer that is right in every part, or an error that says what is wrong."""

import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import server_context
from sandboxed import require_sandbox, run_in_sandbox
from wire_server import TIMING, Reply, WireServer, right_answer, serving

from loadgen.bodies import Body
from loadgen.client import MAX_RETRY_AFTER_S, BasecallClient, parse_server_timing
from loadgen.counters import ServerCounters
from loadgen.errors import CallError, RejectedError
from reads.wire import ARROW_STREAM

BODY = Body("a:0", "read_id=a%3A0&sample_rate=4000.0&offset=6.0&scale=0.18", bytes(1800), 900)


@pytest.fixture
def server() -> Iterator[WireServer]:
    with serving() as server:
        yield server


def wrong(**changes: Any) -> Callable[[int, dict[str, str]], Reply]:
    """Answer rightly but for some words of the document, or for the document as a whole."""

    def answer(samples: int, query: dict[str, str]) -> Reply:
        reply = right_answer(samples, query)
        reply.document = {**reply.document, **changes}
        return reply

    return answer


def test_a_right_answer_is_counted_and_timed(server: WireServer) -> None:
    with BasecallClient(server.url) as client:
        answer = client.basecall(BODY)
    assert (answer.bases, answer.samples) == (100, 900)
    assert answer.response_bytes > 200
    assert answer.client_ms > 0
    assert answer.stage_ms == {"receive": 0.1, "queue": 0.2, "compute": 0.3, "decode": 0.1, "total": 0.7}
    (request,) = server.requests
    assert request == {
        "model": "",
        "read_id": "a:0",
        "sample_rate": "4000.0",
        "offset": "6.0",
        "scale": "0.18",
    }


def test_a_body_of_many_reads_is_called_as_what_it_is(server: WireServer) -> None:
    body = Body("", "", memoryview(bytes(1800)), 900, ARROW_STREAM)
    with BasecallClient(server.url, model="tiny") as client:
        assert client.basecall(body).bases == 100
    assert server.requests == [{"model": "tiny"}]
    (headers,) = server.headers
    assert headers["Content-Type"] == "application/vnd.apache.arrow.stream"
    assert headers["Accept"] == "application/x-ndjson"


@pytest.mark.parametrize(
    ("status", "kind", "why"), [(503, RejectedError, "503 Busy"), (422, CallError, "422 Busy: too short")]
)
def test_a_read_that_is_refused_among_many_is_an_error(
    server: WireServer, status: int, kind: type[CallError], why: str
) -> None:
    problem = {"status": status, "title": "Busy", "detail": "too short"}
    server.answer = lambda *_: Reply(
        {"read_id": "a:0", "error": problem, "model": "tiny", "bases": 0, "samples": 0}
    )
    with BasecallClient(server.url) as client, pytest.raises(kind, match=why):
        client.basecall(BODY)


def test_the_model_is_asked_for(server: WireServer) -> None:
    with BasecallClient(server.url, model="null") as client:
        client.basecall(BODY)
    assert server.requests[0]["model"] == "null"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"samples": 899}, "samples is 899, not 900"),
        ({"qstring": "5" * 99}, "100 bases with 99 qualities"),
        ({"bases": 99}, "bases is 99, not 100"),
        ({"read_id": "b:0"}, "read_id is 'b:0', not 'a:0'"),
        ({"model": "other"}, "model is 'other', not 'tiny'"),
        ({"sequence": None}, "malformed answer"),
    ],
)
def test_an_answer_that_is_wrong_is_an_error_that_says_where(
    server: WireServer, changes: dict[str, Any], why: str
) -> None:
    server.answer = wrong(**changes)
    with BasecallClient(server.url, model="tiny") as client, pytest.raises(CallError, match=why):
        client.basecall(BODY)


def test_an_answer_without_a_part_is_malformed(server: WireServer) -> None:
    def answer(samples: int, query: dict[str, str]) -> Reply:
        reply = right_answer(samples, query)
        del reply.document["qstring"]
        return reply

    server.answer = answer
    with BasecallClient(server.url) as client, pytest.raises(CallError, match="qstring"):
        client.basecall(BODY)


def test_an_answer_that_is_cut_off_is_an_error(server: WireServer) -> None:
    def answer(samples: int, query: dict[str, str]) -> Reply:
        reply = right_answer(samples, query)
        reply.cut_bytes = 10
        return reply

    server.answer = answer
    with BasecallClient(server.url) as client, pytest.raises(CallError):
        client.basecall(BODY)


def test_a_refusal_is_told_in_the_words_of_the_problem(server: WireServer) -> None:
    server.answer = lambda *_: Reply({"title": "Unknown model", "detail": "there is tiny"}, status=404)
    with (
        BasecallClient(server.url) as client,
        pytest.raises(CallError, match="404 Unknown model: there is tiny"),
    ):
        client.basecall(BODY)


@pytest.mark.parametrize(("header", "wait_s"), [("7", 7.0), ("86400", MAX_RETRY_AFTER_S), ("soon", 0.0)])
def test_a_503_says_when_to_come_back(server: WireServer, header: str, wait_s: float) -> None:
    server.answer = lambda *_: Reply({"title": "Busy"}, status=503, headers={"Retry-After": header})
    with BasecallClient(server.url) as client, pytest.raises(RejectedError, match="503 Busy") as error:
        client.basecall(BODY)
    assert error.value.retry_after_s == wait_s


def test_a_connection_is_kept_and_closed_with_its_client(server: WireServer) -> None:
    with BasecallClient(server.url) as client:
        for _ in range(3):
            client.basecall(BODY)
        assert (server.connections, server.open_connections) == (1, 1)
    server.wait_for_connections(0)


def test_with_new_connections_every_request_has_its_own(server: WireServer) -> None:
    with BasecallClient(server.url, connection="new") as client:
        for _ in range(3):
            client.basecall(BODY)
        server.wait_for_connections(0)
    assert server.connections == 3


def test_a_connection_that_the_server_closed_meanwhile_is_replaced(server: WireServer) -> None:
    with BasecallClient(server.url) as client:
        client.basecall(BODY)
        server.close_connections()
        server.wait_for_connections(0)
        client.basecall(BODY)
    assert server.connections == 2


def test_a_port_where_nobody_listens_is_an_error() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with BasecallClient(url) as client, pytest.raises(CallError, match="refused"):
            client.basecall(BODY)


def test_a_server_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            BasecallClient(url, network_timeout_s=0.1) as client,
            pytest.raises(CallError, match="timed out"),
        ):
            client.basecall(BODY)


def test_a_name_that_nobody_has_is_an_error() -> None:
    with BasecallClient("http://nowhere.invalid:8000") as client, pytest.raises(CallError):
        client.basecall(BODY)


def test_the_service_may_live_under_a_prefix(server: WireServer) -> None:
    with BasecallClient(f"{server.url}/a/prefix/") as client:
        client.basecall(BODY)
    assert server.targets == ["/a/prefix/v1/basecall"]


def test_the_counters_are_read(server: WireServer) -> None:
    with BasecallClient(server.url) as client:
        before = ServerCounters.from_page(client.metrics())
        client.basecall(BODY)
        client.basecall(BODY)
        after = ServerCounters.from_page(client.metrics())
    assert after.since(before).bases == 200
    assert after.started_s == before.started_s is not None


def test_server_timing_is_read_as_it_is_written() -> None:
    assert parse_server_timing(TIMING)["compute"] == 0.3
    assert parse_server_timing("") == {}
    assert parse_server_timing('cache;desc="hit";dur=2, total;dur=12.5') == {"total": 12.5}
    assert parse_server_timing("total;dur=3") == {"total": 3.0}


def test_https_is_spoken_without_looking_at_certificates(tmp_path: Path) -> None:
    with serving(tls=server_context(tmp_path)) as server, BasecallClient(server.url) as client:
        assert client.basecall(BODY).bases == 100


IN_A_POD = """
from pyroute2 import IPRoute
from sandboxed import require_sandbox, run_in_sandbox
from wire_server import serving
from loadgen.bodies import Body
from loadgen.client import BasecallClient
from loadgen.errors import CallError
from loadgen.netns import Netns, entered

body = Body("a", "read_id=a", bytes(1800), 900)
with Netns("pod") as pod:
    with entered(pod.file):
        with IPRoute() as links:
            links.link("set", index=1, state="up")
        service = serving()
        server = service.__enter__()
    for connection in ("keep-alive", "new"):
        with BasecallClient(server.url, netns=pod.file, connection=connection) as client:
            print("inside:", client.basecall(body).bases, client.basecall(body).bases)
    with BasecallClient(server.url) as client:
        try:
            print("outside:", client.basecall(body).bases)
        except CallError as error:
            print("outside:", error)
    service.__exit__(None, None, None)
"""


def test_a_namespace_is_dialled_from_inside() -> None:
    require_sandbox()
    paths = {"PYTHONPATH": str(Path(__file__).parents[1])}
    ran = run_in_sandbox(sys.executable, "-c", IN_A_POD, env={**os.environ, **paths})
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [
        "inside: 100 100",
        "inside: 100 100",
        "outside: ConnectionRefusedError: [Errno 111] Connection refused",
    ]
