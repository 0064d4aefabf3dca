"""What a crew promises: as many users work as were asked for, and every request is reported exactly once."""

import math
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace

import gevent
import orjson
import pytest
from wire_server import Reply, WireServer, right_answer, serving

from loadgen.bodies import Body
from loadgen.crew import Crew, Played
from loadgen.sender import Sender
from loadgen.shift import Assignment
from loadgen.tally import merged

BODIES = [Body(f"read-{number}", f"read_id=read-{number}", bytes(1800), 900) for number in range(4)]


@pytest.fixture
def server() -> Iterator[WireServer]:
    with serving() as server:
        yield server


@pytest.fixture
def crew() -> Iterator[Crew]:
    """A crew of four users, who send as the locustfile's do."""
    crew = Crew(BODIES)
    users = [gevent.spawn(work, crew) for _ in range(4)]
    yield crew
    crew.end(10.0)
    crew.dismiss()
    gevent.joinall(users, timeout=10.0, raise_error=True)
    assert all(user.ready() for user in users), "users leave when they are dismissed"


def work(crew: Crew) -> None:
    sender = Sender(crew, lambda *_: None)
    while sender.work():
        pass
    sender.leave()


def assignment(server: WireServer) -> Assignment:
    return Assignment(
        name="test",
        url=server.url,
        netns=None,
        model="",
        connection="keep-alive",
        users=None,
        first_read=0.0,
        settle_s=0.1,
        block_s=0.4,
        drain_s=10.0,
    )


def test_a_block_counts_what_the_server_counts(crew: Crew, server: WireServer) -> None:
    played = crew.play(assignment(server))
    assert played.total.failures == 0
    assert played.total.answers == server.answered > 0
    assert played.total.bases == server.answered_bases
    (window,) = played.windows
    assert 0 < window.tally.answers < played.total.answers
    assert window.spread_bases == pytest.approx(window.tally.bases, rel=0.5)
    assert played.gc_pause_s >= 0.0
    assert played.elapsed_s >= 0.4
    assert played.cpu_s > 0
    assert played.busiest > 0


def test_no_connection_outlives_its_block(crew: Crew, server: WireServer) -> None:
    crew.play(assignment(server))
    server.wait_for_connections(0)
    assert server.connections == 4


def test_blocks_follow_one_another_with_new_connections(crew: Crew, server: WireServer) -> None:
    total = merged(crew.play(assignment(server)).total for _ in range(2))
    assert total.answers == server.answered
    assert server.connections == 8


def test_only_the_users_that_were_asked_for_take_part(crew: Crew, server: WireServer) -> None:
    crew.play(replace(assignment(server), users=3))
    assert server.connections == 3


def test_requests_in_flight_when_a_report_is_taken_are_in_the_next_one(
    crew: Crew, server: WireServer
) -> None:
    proceed = threading.Event()

    def answer(samples: int, query: dict[str, str]) -> Reply:
        proceed.wait()
        return right_answer(samples, query)

    server.answer = answer
    crew.begin(replace(assignment(server), settle_s=0.0, block_s=math.inf, drain_s=math.inf))
    while len(server.requests) < 4:
        gevent.sleep(0.01)
    reports = [crew.take_unreported()]
    assert reports[0].requests == 0
    proceed.set()
    while len(server.requests) < 100:
        gevent.sleep(0.01)
        reports.append(crew.take_unreported())
    assert crew.end(10.0)
    reports.append(crew.take_unreported())
    assert merged(reports).answers == server.answered
    assert merged(reports).bases == server.answered_bases


def test_who_ends_a_shift_that_is_ending_waits_for_its_last_request_too(
    crew: Crew, server: WireServer
) -> None:
    proceed = threading.Event()

    def answer(samples: int, query: dict[str, str]) -> Reply:
        proceed.wait()
        return right_answer(samples, query)

    server.answer = answer
    shift = crew.begin(replace(assignment(server), settle_s=0.0, block_s=math.inf, drain_s=math.inf))
    while len(server.requests) < 4:
        gevent.sleep(0.01)
    first = gevent.spawn(crew.end, 10.0)
    shift.ended.wait()
    second = gevent.spawn(crew.end, 10.0)
    gevent.sleep(0.1)
    assert not second.ready()
    proceed.set()
    gevent.joinall([first, second], timeout=10.0, raise_error=True)
    assert crew.take_unreported().answers == server.answered == 4


def test_a_seat_that_was_left_is_taken_again() -> None:
    crew = Crew(BODIES)
    assert [crew.take_seat() for _ in range(3)] == [0, 1, 2]
    crew.leave_seat(1)
    assert [crew.take_seat() for _ in range(2)] == [1, 3]


def test_a_dismissed_crew_works_again_when_a_shift_begins(server: WireServer) -> None:
    crew = Crew(BODIES)
    crew.dismiss()
    assert crew.turn(0) is None
    shift = crew.begin(assignment(server))
    assert crew.turn(0) is shift
    crew.end(1.0)


def test_what_was_played_survives_json(crew: Crew, server: WireServer) -> None:
    played = crew.play(replace(assignment(server), windows=2))
    assert len(played.windows) == 2
    text = orjson.dumps(asdict(played), option=orjson.OPT_NON_STR_KEYS)
    assert Played.from_plain(orjson.loads(text)) == played
