"""Requests to several replicas: who gets them, and what becomes of those refused or lost. No sockets."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from service.client_errors import LostError, NotCalledError, RefusedError, UnreachableError
from service.replica import FIRST_LIMIT
from service.replicas import MOST_LOSSES, Replicas


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.replica.FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr("service.replica.LONGEST_PAUSE_S", 0.004)


class Fleet:
    """Replicas that answer with their names; `dead` ones lose every connection, `full` ones refuse."""

    def __init__(self) -> None:
        self.dead: set[str] = set()
        self.full: set[str] = set()
        self.stopping: set[str] = set()
        self.asked: list[tuple[str, int]] = []
        self.probed: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def probe(self, url: str) -> bool:
        self.probed.append(url)
        return url not in self.dead | self.stopping

    def ask(self, number: int) -> Callable[[str], Awaitable[tuple[str, float]]]:
        async def ask(url: str) -> tuple[str, float]:
            self.asked.append((url, number))
            await self.gate.wait()
            if url in self.dead:
                raise LostError("reset")
            if url in self.stopping:
                raise RefusedError("stopping", 1.0, not_ready=True)
            if url in self.full:
                raise RefusedError("full", None)
            return url, 0.0

        return ask


def run(test: Callable[[Fleet], Awaitable[Any]]) -> Any:
    async def live() -> Any:
        return await asyncio.wait_for(test(Fleet()), 30)

    return asyncio.run(live())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - nobody could set an event
        await asyncio.sleep(0)


def test_every_request_is_answered_once_and_all_replicas_share_them() -> None:
    async def test(fleet: Fleet) -> None:
        replicas = Replicas(["a", "b", "c"], fleet.probe, patience_s=30)
        fleet.gate.clear()
        sent = [asyncio.create_task(replicas.send(n, fleet.ask(n))) for n in range(60)]
        await until(lambda: len(fleet.asked) == 3 * FIRST_LIMIT)
        fleet.gate.set()
        answers = await asyncio.gather(*sent)
        assert sorted(number for _, number in fleet.asked) == list(range(60))
        assert set(answers) == set("abc")

    run(test)


def test_those_that_wait_go_in_the_order_of_their_numbers() -> None:
    async def test(fleet: Fleet) -> None:
        replicas = Replicas(["a"], fleet.probe, patience_s=30)
        fleet.gate.clear()
        sent = [asyncio.create_task(replicas.send(n, fleet.ask(n))) for n in (5, 3, 9, 1, 8, 2, 7)]
        await until(lambda: len(fleet.asked) == FIRST_LIMIT)
        fleet.gate.set()
        await asyncio.gather(*sent)
        assert [number for _, number in fleet.asked] == [5, 3, 9, 1, 2, 7, 8]

    run(test)


def test_what_a_dead_replica_had_is_sent_to_others_and_it_is_probed_until_it_is_back() -> None:
    async def test(fleet: Fleet) -> None:
        replicas = Replicas(["a", "b"], fleet.probe, patience_s=30)
        fleet.dead.add("a")
        answers = await asyncio.gather(*(replicas.send(n, fleet.ask(n)) for n in range(40)))
        assert answers == ["b"] * 40
        assert 1 <= replicas.losses <= FIRST_LIMIT
        await until(lambda: fleet.probed.count("a") > 3)
        fleet.dead.clear()
        before = len(fleet.asked)
        n = 100
        while not any(url == "a" for url, _ in fleet.asked[before:]):
            n += 1
            await asyncio.gather(*(replicas.send(n, fleet.ask(n)) for _ in range(10)))
        await replicas.close()

    run(test)


def test_what_is_refused_goes_to_another_or_comes_again() -> None:
    async def test(fleet: Fleet) -> None:
        replicas = Replicas(["a", "b"], fleet.probe, patience_s=30)
        fleet.full.add("a")
        assert set(await asyncio.gather(*(replicas.send(n, fleet.ask(n)) for n in range(20)))) == {"b"}
        fleet.full.add("b")
        waiting = asyncio.create_task(replicas.send(50, fleet.ask(50)))
        await until(lambda: fleet.asked.count(("b", 50)) > 2)
        fleet.full.clear()
        assert await waiting in {"a", "b"}
        assert replicas.refusals > 3

    run(test)


def test_one_that_stops_is_sent_nothing_until_a_probe_finds_it_ready() -> None:
    async def test(fleet: Fleet) -> None:
        replicas = Replicas(["a"], fleet.probe, patience_s=30)
        fleet.stopping.add("a")
        waiting = asyncio.create_task(replicas.send(0, fleet.ask(0)))
        await until(lambda: len(fleet.probed) > 5)
        assert len(fleet.asked) == 1
        fleet.stopping.clear()
        assert await waiting == "a"
        assert (replicas.refusals, replicas.losses) == (1, 0)

    run(test)


def test_connections_that_cannot_be_made_are_not_the_requests_doing() -> None:
    async def test(fleet: Fleet) -> None:
        async def probe(url: str) -> bool:
            return True

        asked = 0

        async def ask(url: str) -> tuple[str, float]:
            nonlocal asked
            asked += 1
            if asked <= 3 * MOST_LOSSES:
                raise LostError("refused", sent=False)
            return url, 0.0

        replicas = Replicas(["a"], probe, patience_s=30)
        assert await replicas.send(0, ask) == "a"
        assert replicas.losses == 0
        await replicas.close()

    run(test)


def test_a_request_that_loses_every_connection_is_given_up() -> None:
    async def test(fleet: Fleet) -> None:
        async def probe(url: str) -> bool:
            return True

        fleet.dead.update("ab")
        replicas = Replicas(["a", "b"], probe, patience_s=30)
        with pytest.raises(NotCalledError, match=f"lost {MOST_LOSSES} times; last, reset"):
            await replicas.send(0, fleet.ask(0))
        fleet.dead.clear()
        assert await replicas.send(1, fleet.ask(1)) in {"a", "b"}
        await replicas.close()

    run(test)


@pytest.mark.parametrize(("state", "said"), [("dead", "reset"), ("full", "full")])
def test_where_no_replica_takes_anything_for_too_long_it_is_over(state: str, said: str) -> None:
    async def test(fleet: Fleet) -> None:
        getattr(fleet, state).add("a")
        replicas = Replicas(["a"], fleet.probe, patience_s=0.05)
        sent = [asyncio.create_task(replicas.send(n, fleet.ask(n))) for n in range(10)]
        for ended in await asyncio.gather(*sent, return_exceptions=True):
            assert isinstance(ended, UnreachableError)
            assert str(ended) == f"nothing was answered for 0.05 s; at last, a: {said}"
        await replicas.close()

    run(test)


def test_a_slow_answer_is_no_reason_to_give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = 0
    check = Replicas._check_patience

    def counting(self: Replicas, began_s: float) -> None:
        nonlocal checks
        checks += 1
        check(self, began_s)

    monkeypatch.setattr(Replicas, "_check_patience", counting)

    async def test(fleet: Fleet) -> None:
        replicas = Replicas(["a"], fleet.probe, patience_s=0.01)
        fleet.gate.clear()
        sent = [asyncio.create_task(replicas.send(n, fleet.ask(n))) for n in range(10)]
        await until(lambda: checks > 20)
        fleet.gate.set()
        assert await asyncio.gather(*sent) == ["a"] * 10

    run(test)


def test_whoever_is_cancelled_leaves_its_place_to_others() -> None:
    async def test(fleet: Fleet) -> None:
        replicas = Replicas(["a"], fleet.probe, patience_s=30)
        fleet.gate.clear()
        sent = [asyncio.create_task(replicas.send(n, fleet.ask(n))) for n in range(20)]
        await until(lambda: len(fleet.asked) == FIRST_LIMIT)
        # Some have a place, some wait for one, and one is given its place in the moment of its leaving.
        for task in sent[:10]:
            task.cancel()
        fleet.gate.set()
        ended = await asyncio.gather(*sent, return_exceptions=True)
        assert ended[10:] == ["a"] * 10
        assert all(isinstance(one, asyncio.CancelledError) for one in ended[:10])
        assert replicas._replicas[0].in_flight == 0

    run(test)


def test_an_error_that_is_the_requests_own_is_not_tried_again() -> None:
    async def test(fleet: Fleet) -> None:
        replicas = Replicas(["a"], fleet.probe, patience_s=30)

        async def ask(url: str) -> tuple[str, float]:
            fleet.asked.append((url, 0))
            raise NotCalledError("422")

        with pytest.raises(NotCalledError, match="422"):
            await replicas.send(0, ask)
        assert len(fleet.asked) == 1

    run(test)
