"""One request and its answer: who it is, how long each stage took, and the sending of what it ends with."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import orjson
from starlette.types import Send

from service.errors import Problem
from service.metrics import NO_MODEL
from service.tracing import Trace

PROBLEM_TYPE = "application/problem+json"


def _no_stages() -> dict[str, float]:
    return dict.fromkeys(("receive", "queue", "compute", "decode"), 0.0)


@dataclass(slots=True)
class Exchange:
    """A request under way. `model` is NO_MODEL until it is known to be served."""

    trace: Trace
    began_s: float = field(default_factory=time.monotonic)
    model: str = NO_MODEL
    stage_s: dict[str, float] = field(default_factory=_no_stages)
    """How long the request spent in each stage that it has been through."""

    @property
    def elapsed_s(self) -> float:
        """Return the time since its head arrived."""
        return time.monotonic() - self.began_s

    @property
    def timing_s(self) -> dict[str, float]:
        """Return the stages and, until now, their total."""
        return {**self.stage_s, "total": self.elapsed_s}

    async def answer(self, send: Send, answer_type: str, body: bytes) -> None:
        """Send a basecall."""
        await self._send(send, 200, answer_type, body, ())

    async def refuse(self, send: Send, problem: Problem) -> None:
        """Send a problem document."""
        body = orjson.dumps(problem.document(self.trace.trace_id))
        await self._send(send, problem.status, PROBLEM_TYPE, body, problem.headers)

    async def _send(
        self, send: Send, status: int, content_type: str, body: bytes, more: Iterable[tuple[str, str]]
    ) -> None:
        timing = ", ".join(f"{stage};dur={seconds * 1e3:.3f}" for stage, seconds in self.timing_s.items())
        headers = [
            ("content-type", content_type),
            ("content-length", str(len(body))),
            ("server-timing", timing),
            ("traceparent", self.trace.traceparent),
            *more,
        ]
        encoded = [(name.encode(), value.encode()) for name, value in headers]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        await send({"type": "http.response.body", "body": body})
