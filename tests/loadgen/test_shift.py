"""What a shift promises: reads are sent in order, each request counts once, the end waits for the last."""

import math
import threading
from collections.abc import Iterator
from dataclasses import replace

import gevent
import pytest
from wire_server import Reply, WireServer, right_answer, serving

from loadgen.bodies import Body
from loadgen.errors import RejectedError
from loadgen.shift import Assignment, Shift

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
    assert shift.total == shift.window
    assert (shift.total.requests, shift.total.bases, shift.total.samples) == (1, 1, 9)
    assert shift.total.request_bytes == 18
    assert (shift.spread_bases, shift.spread_samples) == (1.0, 9.0)


def test_before_the_window_only_the_total_counts(server: WireServer) -> None:
    shift = Shift(replace(assignment(server), settle_s=3600.0), BODIES)
    shift.send(shift.open_client())
    assert (shift.total.requests, shift.window.requests, shift.spread_bases) == (1, 0, 0.0)


def test_after_the_window_only_the_total_counts(server: WireServer) -> None:
    shift = Shift(replace(assignment(server), block_s=0.0), BODIES)
    shift.send(shift.open_client())
    assert (shift.total.requests, shift.window.requests, shift.spread_bases) == (1, 0, 0.0)


def test_a_request_that_crosses_the_windows_end_is_spread_over_both_sides(server: WireServer) -> None:
    window_is_over = threading.Event()

    def answer(samples: int, query: dict[str, str]) -> Reply:
        window_is_over.wait()
        return right_answer(samples, query)

    server.answer = answer
    shift = Shift(replace(assignment(server), block_s=0.1), BODIES)
    gevent.spawn_later(0.2, window_is_over.set)
    shift.send(shift.open_client())
    assert (shift.total.bases, shift.window.requests) == (1, 0)
    assert 0.0 < shift.spread_bases < 1.0
    assert shift.spread_samples == pytest.approx(9 * shift.spread_bases)


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
