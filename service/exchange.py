"""One request and its answer: who it is, how long each stage took, and the sending of what it ends with."""

import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from uuid import UUID

from starlette.types import Send

from service.dialect import Dialect
from service.errors import Problem
from service.metrics import NO_MODEL
from service.tracing import Trace


def _no_stages() -> dict[str, float]:
    return dict.fromkeys(("receive", "queue", "compute", "decode"), 0.0)


@dataclass(slots=True)
class Exchange:
    """A request under way. `model` is NO_MODEL until it is known to be served."""

    trace: Trace
    dialect: Dialect
    began_s: float = field(default_factory=time.monotonic)
    model: str = NO_MODEL
    stage_s: dict[str, float] = field(default_factory=_no_stages)
    """How long the request spent in each stage that it has been through."""
    refuse_rest: Callable[[Problem], Awaitable[None]] | None = None
    """How to end an answer of many records that has begun."""

    @property
    def read_id(self) -> str:
        """Return what a read without a name is called: as its request is."""
        return str(UUID(hex=self.trace.trace_id))

    @property
    def elapsed_s(self) -> float:
        """Return the time since its head arrived."""
        return time.monotonic() - self.began_s

    @property
    def timing_s(self) -> dict[str, float]:
        """Return the stages and, until now, their total."""
        return {**self.stage_s, "total": self.elapsed_s}

    async def answer(
        self, send: Send, media_type: str, body: bytes, more: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Send an answer that is whole."""
        await self._send_head(send, 200, [("content-length", str(len(body))), *more], media_type)
        await self.go_on(send, body, more=False)

    async def begin(self, send: Send, media_type: str) -> None:
        """Begin an answer of which nobody knows how long it will be."""
        await self._send_head(send, 200, [], media_type)

    async def go_on(self, send: Send, content: bytes, *, more: bool = True) -> None:
        """Send a part of an answer that was begun; its last one unless there is `more`."""
        await send({"type": "http.response.body", "body": content, "more_body": more})

    async def refuse(self, send: Send, problem: Problem) -> None:
        """Send a problem document; or what remains of an answer that has begun, which says the same."""
        if self.refuse_rest:
            await self.refuse_rest(problem)
            return
        media_type, body = self.dialect.problem(problem, self.trace.trace_id)
        headers = [("content-length", str(len(body))), *problem.headers]
        await self._send_head(send, problem.status, headers, media_type)
        await self.go_on(send, body, more=False)

    async def _send_head(
        self, send: Send, status: int, more: Iterable[tuple[str, str]], media_type: str
    ) -> None:
        timing = ", ".join(f"{stage};dur={seconds * 1e3:.3f}" for stage, seconds in self.timing_s.items())
        headers = [
            ("content-type", media_type),
            ("server-timing", timing),
            ("traceparent", self.trace.traceparent),
            *more,
        ]
        encoded = [(name.encode(), value.encode()) for name, value in headers]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
