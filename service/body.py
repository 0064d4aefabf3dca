"""What a request still takes from its client once its head is there: its body, and the patience to wait."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from starlette.types import Receive

from service.errors import ClientGoneError

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


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
