"""What a request still takes from its client once its head is there: its body, and the patience to wait."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

from starlette.types import Receive

from models.basecall import Basecall
from service.errors import ClientGoneError
from service.job import Job

MOST_AT_ONCE = 64
"""How many jobs that have ended are handed on together, at most."""

Outcome = TypeVar("Outcome")


async def receive_body(
    receive: Receive, *, announced_bytes: int | None, grow: Callable[[int], None]
) -> bytearray:
    """Return the body, which takes memory as it comes, not as it is announced.

    `grow` is told each new length beyond the announced one before it is taken, and what it raises ends the
    upload. Raises ClientGoneError.
    """
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        piece = message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) + len(piece) > (announced_bytes or 0):
            grow(len(body) + len(piece))
        body += piece
    return body


async def outcome_or_gone(outcome: Future[Outcome], receive: Receive) -> Outcome:
    """Return or raise what `outcome` becomes; whoever stops waiting for it cancels it.

    Raises ClientGoneError where the client closes its connection first. The body must have been received.
    """
    waited_for = asyncio.wrap_future(outcome)
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait((waited_for, gone), return_when=asyncio.FIRST_COMPLETED)
        if not waited_for.done():
            raise ClientGoneError
        return waited_for.result()
    finally:
        waited_for.cancel()
        gone.cancel()


async def ended_or_gone(jobs: list[Job], receive: Receive) -> AsyncGenerator[list[Job], None]:
    """Yield every job once it has ended, those together that have ended meanwhile; whoever closes this before
    cancels the rest. `jobs` is empty from the start on.

    Raises ClientGoneError where the client closes its connection first. The body must have been received.
    """
    ended: asyncio.Queue[Job | None] = asyncio.Queue()
    outcomes: set[asyncio.Future[Basecall]] = set()

    def watch(job: Job) -> None:
        outcome = asyncio.wrap_future(job.outcome)
        outcomes.add(outcome)
        outcome.add_done_callback(partial(note, job))

    def note(job: Job, outcome: asyncio.Future[Basecall]) -> None:
        outcomes.discard(outcome)
        # Asked for, or asyncio complains of an exception that nobody saw.
        if not outcome.cancelled():
            outcome.exception()
        ended.put_nowait(job)

    left = len(jobs)
    while jobs:
        watch(jobs.pop())
    gone = asyncio.ensure_future(_gone(receive))
    gone.add_done_callback(lambda _: ended.put_nowait(None))
    try:
        while left:
            together: list[Job] = []
            while not together or (not ended.empty() and len(together) < MOST_AT_ONCE):
                together.append(await _next(ended))
            left -= len(together)
            yield together
            # Whoever got them knows them alone, so that they go when they are answered.
            del together
    finally:
        gone.cancel()
        for outcome in list(outcomes):
            outcome.cancel()


async def _next(ended: asyncio.Queue[Job | None]) -> Job:
    job = await ended.get()
    if job is None:
        raise ClientGoneError
    return job


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
