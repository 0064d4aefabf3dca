"""What a conductor promises: every block becomes an observation, void where anything was amiss."""

import socket
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import islice
from typing import Any

import gevent
import pytest
from wire_server import Reply, WireServer, serving, unhurried_answer

from loadgen.bodies import Body
from loadgen.conductor import Conductor, share_users
from loadgen.crew import Crew
from loadgen.paths import Path
from loadgen.plan import Plan
from loadgen.shift import Assignment, Shift

BODIES = [Body(f"read-{number}", f"read_id=read-{number}", bytes(1800), 900) for number in range(64)]


@pytest.fixture
def server() -> Iterator[WireServer]:
    with serving() as server:
        server.answer = unhurried_answer
        yield server


def plan(*urls: str) -> Plan:
    paths = tuple(Path(f"path-{number}", "host", "host-ip", url) for number, url in enumerate(urls))
    return Plan(paths, rounds=2, users={"model": 2, "null": 3}, block_s=0.3, settle_s=0.1, drain_s=10.0)


class Troupe:
    """Real crews, told by calls what a locust worker is told by messages."""

    def __init__(self, plan: Plan, users: dict[str, int]) -> None:
        self.crews = {name: Crew(BODIES) for name in users}
        self.users = [
            gevent.spawn(_work, self.crews[name]) for name, count in users.items() for _ in range(count)
        ]
        self.conductor = Conductor(plan, crews=lambda path: users, send=self.send, own_cpu_counts=False)

    def send(self, name: str, order: dict[str, Any]) -> None:
        gevent.spawn(self.play, name, order["order"], Assignment(**order["assignment"]))

    def play(self, name: str, order: int, assignment: Assignment) -> None:
        self.conductor.on_played(name, order, self.crews[name].play(assignment))

    def __enter__(self) -> Conductor:
        return self.conductor

    def __exit__(self, *_: object) -> None:
        for crew in self.crews.values():
            crew.end(10.0)
            crew.dismiss()
        gevent.joinall(self.users, timeout=10.0, raise_error=True)


def _work(crew: Crew) -> None:
    seat = crew.take_seat()
    mine: Shift | None = None
    while shift := crew.turn(seat):
        if shift is not mine:
            mine, client = shift, shift.open_client()
        crew.send(shift, client)


def test_blocks_are_observed_as_the_server_saw_them(server: WireServer) -> None:
    schedule = plan(server.url, server.url)
    with Troupe(schedule, {"one": 2, "two": 1}) as conductor:
        observations = [conductor.observe(block) for block in schedule.blocks()]
    assert [observation.voids for observation in observations] == [()] * 8
    assert sum(observation.total.bases for observation in observations) == server.answered_bases
    for block, observation in zip(schedule.blocks(), observations, strict=True):
        assert (observation.round, observation.position) == (block.round, block.position)
        assert (observation.path, observation.arm) == (block.path.name, block.arm)
        assert observation.users == schedule.users[block.arm]
        assert observation.server_bases == observation.total.bases > 0
        assert observation.server_cpu_s is not None
        assert observation.bases_per_s > 0
    server.wait_for_connections(0)


def test_each_arm_asks_for_its_model_and_each_block_of_a_round_for_the_same_reads(server: WireServer) -> None:
    schedule = replace(plan(server.url, server.url), model="tiny", users={"model": 1, "null": 1})
    sent: list[tuple[set[str], list[str]]] = []
    with Troupe(schedule, {"one": 1}) as conductor:
        for block in islice(schedule.blocks(), 4):
            before = len(server.requests)
            conductor.observe(block)
            requests = server.requests[before:]
            models = {request["model"] for request in requests}
            assert models == {"null" if block.arm == "null" else "tiny"}
            sent.append((models, [request["read_id"] for request in requests]))
    least = min(len(reads) for _, reads in sent)
    assert len({tuple(reads[:least]) for _, reads in sent}) == 1


def test_a_path_that_cannot_be_dialled_is_a_void_observation(server: WireServer) -> None:
    schedule = plan("http://127.0.0.1:1")
    with Troupe(schedule, {"one": 3}) as conductor:
        observation = conductor.observe(next(schedule.blocks()))
    (reason,) = observation.voids
    assert "cannot be read over this path" in reason
    assert "refused" in reason
    assert observation.total.requests == 0
    assert observation.bases_per_s == 0.0


def test_a_service_that_comes_back_within_the_block_is_waited_for(server: WireServer) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        late = f"http://127.0.0.1:{free.getsockname()[1]}"
    schedule = replace(plan(late), block_s=20.0, settle_s=0.0)
    with Troupe(schedule, {"one": 3}) as conductor:
        observing = gevent.spawn(conductor.observe, next(schedule.blocks()))
        gevent.sleep(0.3)
        assert not observing.ready()
        with serving(port=int(late.rpartition(":")[2])) as restarted:
            while not restarted.requests:
                gevent.sleep(0.01)
            observing.kill()


def test_a_namespace_that_is_gone_is_a_void_observation(server: WireServer) -> None:
    schedule = plan(server.url)
    schedule = replace(schedule, paths=(replace(schedule.paths[0], netns="/nowhere/netns"),))
    with Troupe(schedule, {"one": 3}) as conductor:
        (reason,) = conductor.observe(next(schedule.blocks())).voids
    assert "/nowhere/netns" in reason


def test_failures_void_a_block(server: WireServer) -> None:
    server.answer = lambda *_: Reply({"title": "Busy"}, status=503)
    schedule = plan(server.url)
    with Troupe(schedule, {"one": 3}) as conductor:
        observation = conductor.observe(next(schedule.blocks()))
    assert observation.total.rejected == observation.total.requests > 0
    assert any("requests failed" in reason and "503 Busy" in reason for reason in observation.voids)


def test_bases_of_a_stranger_void_a_block(server: WireServer) -> None:
    def answer(samples: int, query: dict[str, str]) -> Reply:
        server.bases.labels("other").inc(1)
        return unhurried_answer(samples, query)

    server.answer = answer
    schedule = plan(server.url)
    with Troupe(schedule, {"one": 3}) as conductor:
        (reason,) = conductor.observe(next(schedule.blocks())).voids
    assert reason.startswith("the server called")


def test_too_few_users_void_a_block(server: WireServer) -> None:
    schedule = replace(plan(server.url), arms=("null",))
    with Troupe(schedule, {"one": 2}) as conductor:
        observation = conductor.observe(next(schedule.blocks()))
    assert observation.users == 2
    assert observation.voids == ("only 2 of 3 users were there",)


def test_what_a_crew_says_of_an_earlier_order_is_ignored(server: WireServer) -> None:
    schedule = plan(server.url)
    troupe = Troupe(schedule, {"one": 3})
    with troupe as conductor:
        blocks = schedule.blocks()
        first = conductor.observe(next(blocks))
        late = troupe.crews["one"].play(
            Assignment("late", server.url, None, "", "keep-alive", None, 0.0, 0.0, 0.05, 1.0)
        )
        conductor.on_played("one", 1, late)
        second = conductor.observe(next(blocks))
    assert first.voids == second.voids == ()


@pytest.mark.parametrize(
    ("users", "crews", "shares"),
    [
        (8, {"a": 8}, {"a": 8}),
        (8, {"a": 4, "b": 4}, {"a": 4, "b": 4}),
        (3, {"a": 4, "b": 4}, {"a": 2, "b": 1}),
        (8, {"a": 3, "b": 3, "c": 2}, {"a": 3, "b": 3, "c": 2}),
        (8, {"a": 2, "b": 9}, {"a": 2, "b": 6}),
        (1, {"a": 4, "b": 4}, {"a": 1}),
        (9, {"a": 2, "b": 2}, {"a": 2, "b": 2}),
        (4, {}, {}),
    ],
)
def test_users_are_spread_evenly_as_far_as_there_are_any(
    users: int, crews: dict[str, int], shares: dict[str, int]
) -> None:
    assert share_users(users, crews) == shares


def test_orders_can_travel_as_messages(server: WireServer) -> None:
    schedule = plan(server.url)
    sent: list[dict[str, Any]] = []
    conductor = Conductor(
        replace(schedule, drain_s=0.01),
        crews=lambda path: {"one": 3},
        send=lambda _, order: sent.append(order),
        own_cpu_counts=False,
    )
    observing = gevent.spawn(conductor.observe, next(schedule.blocks()))
    while not sent:
        gevent.sleep(0.01)
    observing.kill()
    assert asdict(Assignment(**sent[0]["assignment"])) == sent[0]["assignment"]
    assert isinstance(sent[0]["assignment"]["users"], int)
