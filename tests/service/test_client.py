"""The client on real sockets: what comes out, in what order, and what it makes of each kind of trouble."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from live_service import STRIDE, WAIT_S, GatedCaller, expected_sequence, of, random_signal, read_of, serving
from scripted_server import Asked, Reply, ScriptedServer, fastq, problem, scripted

from models.basecall import Basecall
from reads.read import Read
from service import client as module
from service.client import Client
from service.client_errors import NotServedError, UnreachableError


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.replica.FIRST_PAUSE_S", 0.005)
    monkeypatch.setattr("service.replica.LONGEST_PAUSE_S", 0.02)
    monkeypatch.setattr("service.replica.LONGEST_RETRY_AFTER_S", 0.02)


def made_reads(count: int) -> list[Read]:
    return [read_of(random_signal(10 * (1 + 61 * n % 300), seed=n), f"r{n}") for n in range(count)]


def call_all(
    client: Client, reads: Sequence[Read], *, with_moves: bool = False
) -> tuple[list[tuple[Read, Basecall]], list[str]]:
    """Return the calls, and the lines that were said about what was not called."""
    problems: list[str] = []
    calls = client.call(
        reads,
        client.model(),
        with_moves=with_moves,
        on_problem=lambda read, error: problems.append(f"{read.read_id}: {error}"),
    )
    return list(calls), problems


def through(server: ScriptedServer, reads: int = 20, **options: float | str) -> tuple[list[str], list[str]]:
    """Return the ids of the reads that were called through one scripted server, and the problems."""
    with Client([server.url], **options) as client:  # type: ignore[arg-type]
        calls, problems = call_all(client, made_reads(reads))
    return [read.read_id for read, _ in calls], problems


def ids(count: int) -> list[str]:
    return [f"r{n}" for n in range(count)]


def test_every_read_is_called_once_and_in_order_whichever_replica_called_it() -> None:
    reads = made_reads(100)
    with serving() as one, serving() as two, Client([one.url, two.url]) as client:
        calls, problems = call_all(client, reads)
        counted = [running.metric("fiveways_bases_total") for running in (one, two)]
    assert [read for read, _ in calls] == reads
    assert [call.sequence for _, call in calls] == [expected_sequence(read.signal) for read in reads]
    assert problems == [] and all(counted)
    assert sum(counted) == sum(len(call.sequence) for _, call in calls)


def test_moves_come_where_they_are_asked_for() -> None:
    reads = made_reads(5)
    with serving() as running, Client([running.url]) as client:
        with_moves, _ = call_all(client, reads, with_moves=True)
        without, _ = call_all(client, reads)
    for (read, call), (_, other) in zip(with_moves, without, strict=True):
        assert call.stride == STRIDE and np.array_equal(call.moves, np.ones(len(read.signal) // STRIDE))
        assert (call.sequence, call.qstring, call.samples) == (other.sequence, other.qstring, other.samples)


def test_the_model_is_found_by_name_and_others_are_said_to_be_served() -> None:
    with serving() as running, Client([running.url]) as client:
        assert (client.model().name, client.model().sample_rate) == ("tiny", 4000.0)
        assert client.model("null").sample_rate == 0
        with pytest.raises(NotServedError, match="no model 'r10' is served; there are tiny, null"):
            client.model("r10")


def test_a_read_that_the_service_refuses_costs_itself_alone() -> None:
    reads = made_reads(6)
    reads[2] = Read("fast", reads[2].signal, reads[2].calibration, 5000.0)
    with serving(max_read_samples=5000) as running, Client([running.url]) as client:
        reads[4] = read_of(random_signal(5001), "long")
        calls, problems = call_all(client, reads)
    assert [read.read_id for read, _ in calls] == ["r0", "r1", "r3", "r5"]
    assert [line.split(":")[0] for line in problems] == ["fast", "long"]
    assert "5000 Hz" in problems[0] and "5000 samples" in problems[1]


@pytest.mark.parametrize("status", [400, 406, 408, 413, 415, 422, 500, 501, 504, 301])
def test_what_is_refused_for_good_is_not_sent_again(status: int) -> None:
    with scripted(
        lambda asked: problem(status) if asked.query["read_id"] == "r3" else fastq(asked)
    ) as server:
        called, problems = through(server, 6)
        assert len(server.asked) == 6
    assert called == ["r0", "r1", "r2", "r4", "r5"]
    assert problems == [f"r3: No: this is {status}"]


@pytest.mark.parametrize(
    "trouble", [problem(503), problem(503, Retry_After="0"), problem(429), Reply(502), Reply(0)]
)
def test_what_is_refused_for_now_or_lost_is_sent_again_until_it_is_called(trouble: Reply) -> None:
    with scripted(lambda asked: trouble if asked.number % 3 == 1 else fastq(asked)) as server:
        assert through(server) == (ids(20), [])
        answered = [asked for asked in server.asked if asked.number % 3 != 1]
        assert sorted(asked.query["read_id"] for asked in answered) == sorted(ids(20))
        assert len(server.asked) > 20


def test_a_replica_that_says_when_is_sent_nothing_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.replica.LONGEST_RETRY_AFTER_S", 60.0)
    with ExitStack() as stack:
        busy = stack.enter_context(scripted(lambda _: problem(503, Retry_After="60")))
        free = stack.enter_context(scripted(fastq))
        with Client([busy.url, free.url]) as client:
            calls, problems = call_all(client, made_reads(100))
    assert (len(calls), problems) == (100, [])
    # Those that were on their way when it said so: its first limit, at most.
    assert 1 <= len(busy.asked) <= 4 and len(free.asked) == 100


def test_a_read_at_which_every_connection_is_lost_is_given_up_and_the_others_are_called() -> None:
    with scripted(lambda asked: Reply(0) if asked.query["read_id"] == "r2" else fastq(asked)) as server:
        called, problems = through(server, 5)
    assert called == ["r0", "r1", "r3", "r4"]
    assert len(problems) == 1 and "r2: its connection was lost 10 times" in problems[0]


def test_an_answer_that_is_cut_short_is_no_answer() -> None:
    def cut(asked: Asked) -> Reply:
        whole = fastq(asked)
        longer = {"Content-Length": str(len(whole.content) + 10), "Connection": "close"}
        return Reply(content=whole.content, headers=longer if asked.number % 3 == 1 else {})

    with scripted(cut) as server:
        assert through(server, 10) == (ids(10), [])
        assert len(server.asked) > 10


def test_an_answer_of_another_read_is_an_error_of_this_one() -> None:
    def swapped(asked: Asked) -> Reply:
        return (
            fastq(Asked(0, {"read_id": "other"}, {}, 1)) if asked.query["read_id"] == "r1" else fastq(asked)
        )

    with scripted(swapped) as server:
        called, problems = through(server, 3)
    assert called == ["r0", "r2"] and "the call of another read, 'other'" in problems[0]


def test_an_answer_without_an_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_BYTES", 1000)
    with scripted(lambda asked: fastq(asked, bases=100_000)) as server:
        called, problems = through(server, 1)
    assert called == [] and "longer than" in problems[0]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_would_be_refused_to_every_read_ends_it(status: int) -> None:
    with (
        scripted(lambda _: problem(status)) as server,
        pytest.raises(NotServedError, match=f"this is {status}"),
    ):
        through(server)


def test_nobody_who_answers_is_found_out_at_once() -> None:
    with scripted(fastq) as server:
        gone = server.url
    with Client([gone]) as client, pytest.raises(UnreachableError, match=f"{gone} cannot be reached: "):
        client.model()


def test_a_replica_that_is_not_there_at_first_is_done_without() -> None:
    with scripted(fastq) as server, scripted(fastq) as other:
        gone = "http://127.0.0.1:1"
        with Client([gone, server.url, other.url]) as client:
            calls, problems = call_all(client, made_reads(30))
    assert (len(calls), problems) == (30, [])


def test_a_service_that_is_loading_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_AGAIN_S", 0.01)
    answers: list[int] = []

    class Loading(ScriptedServer):
        pass

    with scripted(fastq) as server:
        handler = server.RequestHandlerClass
        original = handler.do_GET  # type: ignore[attr-defined]

        def not_ready(self: object) -> None:
            answers.append(503 if len(answers) < 3 else 200)
            if answers[-1] == 503:
                self._send(problem(503))  # type: ignore[attr-defined]
            else:
                original(self)

        monkeypatch.setattr(handler, "do_GET", not_ready)
        assert through(server, 3)[0] == ids(3)
    assert answers[:4] == [503, 503, 503, 200]


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://x", "http://", "http://h/?a=b", "http://[::1"])
def test_an_address_that_is_none_is_said_to_be(url: str) -> None:
    with pytest.raises(NotServedError, match="write http://HOST:PORT"):
        Client([url])


def test_requests_carry_the_token_a_deadline_and_a_trace_for_each_read() -> None:
    with scripted(lambda asked: problem(503) if asked.number == 0 else fastq(asked)) as server:
        through(server, 3, token="sesame", deadline_s=50.0)  # noqa: S106 - a test's
    assert {asked.headers["authorization"] for asked in server.asked} == {"Bearer sesame"}
    assert all(0 < int(asked.headers["x-deadline-ms"]) <= 50_000 for asked in server.asked)
    traces: dict[str, set[str]] = {}
    for asked in server.asked:
        match = re.fullmatch(r"00-([0-9a-f]{32})-([0-9a-f]{16})-00", asked.headers["traceparent"])
        assert match
        traces.setdefault(asked.query["read_id"], set()).add(match[1])
    assert sorted(map(len, traces.values())) == [1, 1, 1] and len(set.union(*traces.values())) == 3
    assert server.asked[0].query.keys() == {"model", "read_id", "sample_rate", "offset", "scale"}


def test_a_read_that_is_late_is_given_up_at_its_deadline() -> None:
    late = threading.Event()

    def script(asked: Asked) -> Reply:
        late.wait(WAIT_S)
        return fastq(asked)

    with scripted(script) as server:
        called, problems = through(server, 1, deadline_s=0.25)
        late.set()
    assert called == []
    assert problems == ["r0: it was not called within 0.25 s"]


def test_no_more_is_held_than_a_window_however_many_reads_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW_READS", 50)
    monkeypatch.setattr(module, "WINDOW_SAMPLES", 3000)
    taken = returned = most_reads = most_samples = 0
    held: dict[str, int] = {}

    def source() -> Iterator[Read]:
        nonlocal taken, most_reads, most_samples
        for n in range(400):
            # One is longer than all the window.
            read = read_of(random_signal(10_000 if n == 200 else 20 + n % 100), f"r{n}")
            yield read
            taken += 1
            held[read.read_id] = len(read.signal)
            most_reads = max(most_reads, taken - returned)
            if n != 200:
                most_samples = max(most_samples, sum(held.values()))

    with scripted(fastq) as server, Client([server.url]) as client:
        for read, _ in client.call(
            source(), client.model(), on_problem=lambda read, error: pytest.fail(str(error))
        ):
            returned += 1
            del held[read.read_id]
    assert returned == 400
    assert most_reads <= 51 and most_samples <= 3000 + 120


def test_whoever_stops_iterating_leaves_nothing_in_flight() -> None:
    caller = GatedCaller()
    with serving(of(caller)) as running, Client([running.url]) as client:
        model = client.model()
        calls = client.call(made_reads(50), model, on_problem=lambda read, error: None)
        next(calls)
        caller.gate.clear()
        calls.close()
        caller.gate.set()
        calls, problems = call_all(client, made_reads(20))
        assert (len(calls), problems) == (20, [])
        assert running.service.lifecycle.requests == 0


def test_it_is_imported_without_torch_or_a_web_framework() -> None:
    code = (
        "import sys, service.client\n"
        "print([name for name in ('torch', 'fastapi', 'uvicorn', 'numba') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout == "[]\n"
