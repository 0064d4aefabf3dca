"""What uvicorn's connections lack: limits on how many there are, and on clients that are slow on purpose.

A client that takes too long to send a request's head, or to take its answer, is cut off; so is one that goes
on sending a body that was refused. A head that is too long is refused. Accepted bodies have their limits in
`service.app`.
"""

import asyncio
import re
from http import HTTPStatus
from typing import Any, ClassVar

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.dialect import V1
from service.errors import LongHeadError
from service.settings import Settings
from service.tracing import begin_trace

_HEAD_END = re.compile(rb"\n\r?\n")
CROWDED = "crowded"
"""The key of a request's state that says that its connection is one too many."""


def guarded_protocol(settings: Settings) -> type[HttpToolsProtocol]:
    """Return uvicorn's HTTP protocol with the limits of `settings`."""
    return type("GuardedProtocol", (ConnectionGuard,), {"settings": settings})


class ConnectionGuard(HttpToolsProtocol):
    """uvicorn's protocol and the limits. Its `cycle` is the last request that came, None before the first."""

    settings: ClassVar[Settings]
    _head_bytes: int = 0
    """Of the head that has not ended yet; `_head_end` are its last bytes, which may be half of its end."""
    _head_end: bytes = b""
    _deaf: bool = False
    """Whether what comes is not read any more."""
    _head_limit: asyncio.TimerHandle | None = None
    _answer_limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a request."""
        super().connection_made(JoinedWrites(transport, self.loop))  # type: ignore[arg-type]
        # Whatever the kernel does not take at once is waited for: pause_writing tells of every slow reader.
        # Not at 0: TLS counts from `high` on, and would pause for nothing.
        self.transport.set_write_buffer_limits(high=1, low=0)
        if len(self.connections) > self.settings.max_connections:
            self.app = crowded(self.app)
        self._head_limit = self.loop.call_later(self.settings.header_s, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        """Expect the rest, unless it was a request's head, or a part of its body."""
        if self._deaf:
            return
        if self._in_head and self._grow_head(data) > self.settings.max_header_bytes:
            self._deaf = True
            # Those before it get their answers first.
            if not self._owes_answer:
                self._refuse_head()
            return
        super().data_received(data)
        if self._owes_answer:
            _cancel(self._head_limit)
            self._head_limit = None
        elif self._head_limit is None:
            self._head_limit = self.loop.call_later(self.settings.header_s, self.transport.abort)

    @property
    def _in_head(self) -> bool:
        """Return whether what comes belongs to a head."""
        return self.cycle is None or not self.cycle.more_body

    @property
    def _owes_answer(self) -> bool:
        """Return whether a request has come that is not answered yet."""
        return self.cycle is not None and not self.cycle.response_complete

    def _grow_head(self, data: bytes) -> int:
        """Return how long the head is, with the part of `data` that belongs to it."""
        joined = self._head_end + data
        before = self._head_bytes - len(self._head_end)
        end = _HEAD_END.search(joined)
        if end:
            self._head_bytes, self._head_end = 0, b""
            return before + end.end()
        self._head_bytes, self._head_end = before + len(joined), joined[-3:]
        return self._head_bytes

    def _refuse_head(self) -> None:
        problem = LongHeadError(
            f"it is longer than {self.settings.max_header_bytes} bytes; send less in the URL and the headers"
        )
        media_type, body = V1.problem(problem, begin_trace("").trace_id)
        fields = [("content-type", media_type), ("content-length", str(len(body))), *problem.headers]
        lines = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in fields]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        # Closed at once, with bytes of the head unread, the kernel would take the answer back.
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._head_limit = self._head_limit or self.loop.call_later(
            self.settings.header_s, self.transport.abort
        )

    def on_message_complete(self) -> None:
        """Note that the body has come, of requests that were answered before it had, too."""
        super().on_message_complete()
        self.cycle.more_body = False

    def on_response_complete(self) -> None:
        """Expect the rest of what has begun to come: a body that was answered before it had, or a head."""
        super().on_response_complete()
        if self._owes_answer:
            return
        if self._deaf:
            self._refuse_head()
        elif (self.cycle.more_body or self._head_bytes) and self._head_limit is None:
            self._head_limit = self.loop.call_later(self.settings.header_s, self.transport.abort)

    def pause_writing(self) -> None:
        """Expect the client to take what was written."""
        super().pause_writing()
        self._answer_limit = self.loop.call_later(self.settings.answer_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Note that the client has taken all of it."""
        super().resume_writing()
        _cancel(self._answer_limit)

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        _cancel(self._head_limit)
        _cancel(self._answer_limit)
        super().connection_lost(exc)


class JoinedWrites:
    """A transport that writes a head and the body behind it at once: what is written waits for more until the
    loop's next turn, and no longer. In all else the transport it is made of."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: bytes | None = None

    def __getattr__(self, name: str) -> Any:
        """Return what the transport has."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write with what is held, or hold."""
        if self._held is None:
            self._held = data
            self._loop.call_soon(self._flush)
        else:
            held, self._held = self._held, None
            self._transport.writelines((held, data))

    def close(self) -> None:
        """Close once all is written."""
        self._flush()
        self._transport.close()

    def write_eof(self) -> None:
        """Write no more."""
        self._flush()
        self._transport.write_eof()

    def _flush(self) -> None:
        held, self._held = self._held, None
        if held is not None and not self._transport.is_closing():
            self._transport.write(held)


def crowded(app: ASGIApp) -> ASGIApp:
    """Return `app`, told of each request that its connection is one too many."""

    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"][CROWDED] = True
        await app(scope, receive, send)

    return told


def _cancel(limit: asyncio.TimerHandle | None) -> None:
    if limit is not None:
        limit.cancel()
