"""What a request still takes from its client: jobs that end in any order, or a client that leaves."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest
from live_service import random_signal, read_of

from models.null import NullCaller
from service.body import MOST_AT_ONCE, ended_or_gone, receive_body
from service.errors import ClientGoneError, EngineError
from service.job import Job, Priority


def jobs_of(count: int) -> list[Job]:
    return [
        Job(
            read_of(random_signal(90, seed), f"r{seed}"),
            cost_samples=90,
            priority=Priority.NORMAL,
            arrived_s=0.0,
        )
        for seed in range(count)
    ]


def call(job: Job) -> None:
    caller = NullCaller()
    job.answer(caller.stitch(caller.chunk(job.read), []))


async def stay() -> dict[str, Any]:
    """A client that sends nothing and does not leave."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError


def sends(*pieces: bytes, then_leaves: bool = False) -> Callable[[], Awaitable[dict[str, Any]]]:
    """A client that sends a body in these pieces."""
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": piece, "more_body": True} for piece in pieces
    ]
    messages.append({"type": "http.disconnect"} if then_leaves else {"type": "http.request"})

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    return receive


async def leave() -> dict[str, Any]:
    return {"type": "http.disconnect"}


def test_a_body_takes_memory_as_it_comes_and_not_as_it_is_announced() -> None:
    receiving = receive_body(sends(b"ab", then_leaves=True), announced_bytes=2**60, grow=lambda _: None)
    with pytest.raises(ClientGoneError):
        asyncio.run(receiving)


@pytest.mark.parametrize(("announced_bytes", "told_of"), [(5, set()), (2, {5}), (None, {2, 5})])
def test_only_what_goes_beyond_the_announced_length_is_told_of(
    announced_bytes: int | None, told_of: set[int]
) -> None:
    told: set[int] = set()
    receiving = receive_body(sends(b"ab", b"cde"), announced_bytes=announced_bytes, grow=told.add)
    assert asyncio.run(receiving) == b"abcde"
    assert told == told_of


def test_jobs_are_yielded_as_they_end_and_at_once_if_they_have() -> None:
    async def yielded() -> list[list[str]]:
        jobs = jobs_of(5)
        told = []
        for at in (3, 1):
            call(jobs[at])
        waiting = [jobs[0], jobs[2], jobs[4]]
        async with aclosing(ended_or_gone(jobs, stay)) as ending:
            async for together in ending:
                told.append(sorted(job.read.read_id for job in together))
                if waiting:
                    call(waiting.pop())
        return told

    assert asyncio.run(yielded()) == [["r1", "r3"], ["r4"], ["r2"], ["r0"]]


def test_no_more_than_a_bounded_number_come_together() -> None:
    async def sizes() -> list[int]:
        jobs = jobs_of(2 * MOST_AT_ONCE + 1)
        for job in jobs:
            call(job)
        return [len(together) async for together in ended_or_gone(jobs, stay)]

    assert asyncio.run(sizes()) == [MOST_AT_ONCE, MOST_AT_ONCE, 1]


def test_failed_jobs_end_too_and_are_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    async def errors() -> list[Any]:
        jobs = jobs_of(2)
        for job in jobs:
            job.fail(EngineError("broken"))
        return [job.outcome.exception() async for together in ended_or_gone(jobs, stay) for job in together]

    assert [str(error) for error in asyncio.run(errors())] == ["broken", "broken"]
    gc.collect()
    assert not caplog.records


def test_a_client_that_leaves_cancels_what_is_left() -> None:
    async def left() -> list[bool]:
        jobs = jobs_of(3)
        all_of_them = list(jobs)
        with pytest.raises(ClientGoneError):
            async for _ in ended_or_gone(jobs, leave):
                pass
        await asyncio.sleep(0)
        return [job.outcome.cancelled() for job in all_of_them]

    assert asyncio.run(left()) == [True, True, True]


def test_a_job_that_was_handed_on_is_let_go() -> None:
    async def living() -> list[int]:
        jobs = jobs_of(3)
        known = [weakref.ref(job) for job in jobs]
        todo = list(known)
        counts = []
        call(todo.pop()())  # type: ignore[arg-type]
        async with aclosing(ended_or_gone(jobs, stay)) as ending:
            async for together in ending:
                del together[:]
                gc.collect()
                counts.append(sum(ref() is not None for ref in known))
                if todo:
                    call(todo.pop()())  # type: ignore[arg-type]
        return counts

    assert asyncio.run(living()) == [2, 1, 0]
