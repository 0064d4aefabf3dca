"""What a shift promises: reads are sent in order, each request counts once, the end waits for the last."""

import math
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import gevent
import pytest
from wire_server import Reply, WireServer, right_answer, serving

from loadgen.bodies import Body
from loadgen.checks import Checks
from loadgen.crew import Crew
from loadgen.errors import CallError, RejectedError
from loadgen.sender import Sender
from loadgen.shift import Assignment, Shift
from loadgen.window import Window

BODIES = [
    Body(f"read-{number}", f"read_id=read-{number}", bytes(18 * number), 9 * number) for number in range(1, 9)
]


@pytest.fixture
def server() -> Iterator[WireServer]:
    with serving() as server:
        yield server


def assignment(server: WireServer) -> Assignment:
    """An endless shift without settling."""
    return Assignment(
        name="test",
        url=server.url,
        netns=None,
        model="",
        connection="keep-alive",
        users=None,
        first_read=0.0,
        settle_s=0.0,
        block_s=math.inf,
        drain_s=math.inf,
    )


def test_reads_are_sent_in_order_from_the_first_one_and_over_again(server: WireServer) -> None:
    shift = Shift(replace(assignment(server), first_read=0.75), BODIES)
    client = shift.open_client()
    for _ in range(4):
        shift.send(client)
    assert [request["read_id"] for request in server.requests] == ["read-7", "read-8", "read-1", "read-2"]


def test_users_of_a_shift_share_its_reads(server: WireServer) -> None:
    shift = Shift(assignment(server), BODIES)
    clients = [shift.open_client() for _ in range(4)]
    gevent.joinall([gevent.spawn(shift.send, client) for client in clients], raise_error=True)
    assert {request["read_id"] for request in server.requests} == {"read-1", "read-2", "read-3", "read-4"}


def test_an_answer_is_counted_in_the_window_and_in_the_total(server: WireServer) -> None:
    shift = Shift(assignment(server), BODIES)
    outcome = shift.send(shift.open_client())
    assert outcome.answer is not None
    assert outcome.error is None
    assert shift.total == shift.windows[0].tally
    assert (shift.total.requests, shift.total.bases, shift.total.samples) == (1, 1, 9)
    assert shift.total.request_bytes == 18
    assert (shift.windows[0].spread_bases, shift.windows[0].spread_samples) == (1.0, 9.0)


def test_before_the_window_only_the_total_counts(server: WireServer) -> None:
    shift = Shift(replace(assignment(server), settle_s=3600.0), BODIES)
    shift.send(shift.open_client())
    assert shift.total.requests == 1
    assert shift.windows == (Window(),)


def test_after_the_window_only_the_total_counts(server: WireServer) -> None:
    shift = Shift(replace(assignment(server), block_s=0.0), BODIES)
    shift.send(shift.open_client())
    assert shift.total.requests == 1
    assert shift.windows == (Window(),)


def test_a_request_that_crosses_the_windows_end_is_spread_over_both_sides(server: WireServer) -> None:
    window_is_over = threading.Event()

    def answer(samples: int, query: dict[str, str]) -> Reply:
        window_is_over.wait()
        return right_answer(samples, query)

    server.answer = answer
    shift = Shift(replace(assignment(server), block_s=0.1), BODIES)
    gevent.spawn_later(0.2, window_is_over.set)
    shift.send(shift.open_client())
    (window,) = shift.windows
    assert (shift.total.bases, window.tally.requests) == (1, 0)
    assert 0.0 < window.spread_bases < 1.0
    assert window.spread_samples == pytest.approx(9 * window.spread_bases)


def test_a_failure_is_counted_with_its_reason(server: WireServer) -> None:
    server.answer = lambda *_: Reply({"title": "Busy"}, status=503, headers={"Retry-After": "3"})
    shift = Shift(assignment(server), BODIES)
    outcome = shift.send(shift.open_client())
    assert isinstance(outcome.error, RejectedError)
    assert outcome.error.retry_after_s == 3.0
    assert (shift.total.requests, shift.total.failures, shift.total.rejected) == (1, 1, 1)
    assert shift.total.reasons == {"503 Busy": 1}


def test_the_end_waits_for_requests_in_flight_and_closes_connections(server: WireServer) -> None:
    proceed = threading.Event()

    def answer(samples: int, query: dict[str, str]) -> Reply:
        proceed.wait()
        return right_answer(samples, query)

    server.answer = answer
    shift = Shift(assignment(server), BODIES)
    sending = gevent.spawn(shift.send, shift.open_client())
    while not server.requests:
        gevent.sleep(0.01)
    ending = gevent.spawn(shift.end, 60.0)
    assert shift.ended.wait(10.0)
    assert shift.total.requests == 0
    proceed.set()
    assert ending.get(timeout=10.0) is True
    assert sending.ready()
    assert shift.total.answers == 1
    server.wait_for_connections(0)


def test_a_request_without_an_answer_is_given_up_when_the_shift_has_drained(server: WireServer) -> None:
    never = threading.Event()

    def answer(samples: int, query: dict[str, str]) -> Reply:
        never.wait()
        return right_answer(samples, query)

    server.answer = answer
    shift = Shift(replace(assignment(server), block_s=0.0, drain_s=0.2), BODIES)
    outcome = shift.send(shift.open_client())
    never.set()
    assert str(outcome.error) == "no answer within 0.2 s of the end of the block"
    assert shift.end(0.0) is True


def test_the_end_does_not_wait_beyond_its_limit(server: WireServer) -> None:
    proceed = threading.Event()

    def answer(samples: int, query: dict[str, str]) -> Reply:
        proceed.wait()
        return right_answer(samples, query)

    server.answer = answer
    shift = Shift(assignment(server), BODIES)
    sending = gevent.spawn(shift.send, shift.open_client())
    while not server.requests:
        gevent.sleep(0.01)
    assert shift.end(0.05) is False
    proceed.set()
    sending.get(timeout=10.0)


def test_a_request_belongs_to_the_window_in_which_it_was_due(server: WireServer) -> None:
    shift = Shift(replace(assignment(server), settle_s=1.0, block_s=3.0, windows=2), BODIES)
    for after_s, in_first, in_second in ((0.5, 0, 0), (1.5, 1, 0), (2.5, 1, 1), (3.5, 1, 1)):
        outcome = shift.send(shift.open_client(), shift.released_s + after_s)
        assert outcome.lag_ms == 0.0, "none is late: all are due in the future"
        assert [window.tally.requests for window in shift.windows] == [in_first, in_second]
    assert shift.total.requests == 4


def test_a_late_start_counts_as_latency(server: WireServer) -> None:
    shift = Shift(assignment(server), BODIES)
    outcome = shift.send(shift.open_client(), time.perf_counter() - 5.0)
    assert outcome.lag_ms == pytest.approx(5000.0, rel=0.1)
    assert outcome.latency_ms == outcome.client_ms + outcome.lag_ms
    assert outcome.client_ms < 5000.0
    assert shift.total.latency.quantile_ms(1.0) == pytest.approx(outcome.latency_ms, rel=0.01)
    assert shift.total.service.quantile_ms(1.0) == pytest.approx(outcome.client_ms, rel=0.01, abs=0.1)
    assert shift.total.lag.quantile_ms(1.0) == pytest.approx(outcome.lag_ms, rel=0.01)


def test_a_stall_shows_in_every_request_that_should_have_started_meanwhile(server: WireServer) -> None:
    """In a closed loop of one user it would show in one."""
    stalls, stall_s = threading.Event(), 2.0
    began_s: list[float] = []

    def answer(samples: int, query: dict[str, str]) -> Reply:
        if len(server.requests) > 10 and not stalls.is_set():
            stalls.set()
            began_s.append(time.perf_counter())
        if began_s and (left_s := began_s[0] + stall_s - time.perf_counter()) > 0:
            threading.Event().wait(left_s)
        return right_answer(samples, query)

    server.answer = answer
    crew = Crew(BODIES)
    outcomes: list[tuple[float, float]] = []
    sender = Sender(crew, lambda _, outcome: outcomes.append((time.perf_counter(), outcome.latency_ms)))
    shift = crew.begin(replace(assignment(server), user_rate=40.0, seed="a stall", block_s=4.0))
    sending = gevent.spawn(_send_until_dismissed, sender)
    gevent.sleep(4.0)
    assert crew.end(10.0)
    crew.dismiss()
    sending.join(10.0)
    until_s = began_s[0] + stall_s
    due = [(ended_s - latency_ms / 1e3, latency_ms) for ended_s, latency_ms in outcomes]
    stalled = [(due_s, latency_ms) for due_s, latency_ms in due if began_s[0] + 0.1 < due_s < until_s]
    assert len(stalled) > 40
    assert all(latency_ms >= (until_s - due_s) * 1e3 - 50 for due_s, latency_ms in stalled)
    assert shift.total.answers == server.answered == len(outcomes)


def _send_until_dismissed(sender: Sender) -> None:
    while sender.work():
        pass
    sender.leave()


def test_an_open_loop_has_no_more_in_flight_than_its_bound_and_tells_what_it_did_not_start(
    server: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadgen.shift.MOST_IN_FLIGHT", 3)
    proceed = threading.Event()

    def answer(samples: int, query: dict[str, str]) -> Reply:
        proceed.wait()
        return right_answer(samples, query)

    server.answer = answer
    crew = Crew(BODIES)
    sender = Sender(crew, lambda *_: None)
    shift = crew.begin(replace(assignment(server), user_rate=200.0, seed="too many"))
    sending = gevent.spawn(_send_until_dismissed, sender)
    gevent.sleep(0.5)
    assert len(server.requests) == 3
    ending = gevent.spawn(crew.end, 10.0)
    shift.ended.wait()
    proceed.set()
    assert ending.get() is True
    crew.dismiss()
    sending.join(10.0)
    assert shift.total.answers == server.answered == 3
    assert shift.total.unstarted > 10
    assert len(shift.total.lag) == shift.total.unstarted + 3
    assert crew.take_unreported() == shift.total


def test_what_was_due_a_moment_before_the_end_lags_and_could_have_been_started(server: WireServer) -> None:
    shift = Shift(replace(assignment(server), user_rate=10.0), BODIES)
    assert shift.end(1.0)
    ended_s = shift._ended_s
    missed = shift.miss(ended_s - 0.3, iter([ended_s - 0.1, ended_s + 0.1]))
    assert missed == shift.total
    assert (missed.unstarted, len(missed.lag), missed.requests) == (0, 2, 0)
    assert missed.lag.quantile_ms(1.0) == pytest.approx(300.0, rel=0.01)


def test_an_answer_that_differs_from_another_call_of_the_read_is_a_failure(server: WireServer) -> None:
    shift = Shift(assignment(server), BODIES[3:4], Checks(1.0, {}, "seed"))
    client = shift.open_client()
    assert [shift.send(client).checked for _ in range(3)] == [False, True, True]

    def answer(samples: int, query: dict[str, str]) -> Reply:
        reply = right_answer(samples, query)
        reply.document["sequence"] = "TTTT"
        return reply

    server.answer = answer
    outcome = shift.send(client)
    assert isinstance(outcome.error, CallError)
    assert (shift.total.answers, shift.total.failures, shift.total.checked) == (3, 1, 2)
    assert next(iter(shift.total.reasons)).startswith("wrong answer: the sequence")
