"""What a request still takes from its client once its head is there: its body, and the patience to wait."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

from starlette.types import Receive

from service.errors import ClientGoneError
from service.job import Job

MOST_AT_ONCE = 64
"""How many jobs that have ended are handed on together, at most."""

Outcome = TypeVar("Outcome")


async def receive_body(
    receive: Receive, *, announced_bytes: int | None, grow: Callable[[int], None]
) -> bytearray:
    """Return the body.

    One that is announced to be so long is received in place. The length of any other is learnt on the way:
    `grow` is told each new length before it is taken, and what it raises ends the upload. Raises
    ClientGoneError.
    """
    body = bytearray(announced_bytes or 0)
    at, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        piece = message.get("body", b"")
        more = message.get("more_body", False)
        end = at + len(piece)
        if end > len(body):
            grow(end)
        body[at:end] = piece
        at = end
    del body[at:]
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


async def ended_or_gone(jobs: Sequence[Job], receive: Receive) -> AsyncGenerator[list[Job], None]:
    """Yield every job once it has ended, those together that have ended meanwhile; whoever closes this before
    cancels the rest.

    Raises ClientGoneError where the client closes its connection first. The body must have been received.
    """
    ended: asyncio.Queue[Job | None] = asyncio.Queue()

    def note(job: Job, outcome: asyncio.Future[object]) -> None:
        # Asked for, or asyncio complains of an exception that nobody saw.
        if not outcome.cancelled():
            outcome.exception()
        ended.put_nowait(job)

    outcomes = [asyncio.wrap_future(job.outcome) for job in jobs]
    for job, outcome in zip(jobs, outcomes, strict=True):
        outcome.add_done_callback(partial(note, job))
    gone = asyncio.ensure_future(_gone(receive))
    gone.add_done_callback(lambda _: ended.put_nowait(None))
    left = len(jobs)
    try:
        while left:
            together: list[Job] = []
            while not together or (not ended.empty() and len(together) < MOST_AT_ONCE):
                next_ended = await ended.get()
                if next_ended is None:
                    raise ClientGoneError
                together.append(next_ended)
            left -= len(together)
            yield together
    finally:
        gone.cancel()
        for outcome in outcomes:
            outcome.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
