"""Who a log line is about: the trace that a request belongs to, in the form of W3C Trace Context.

The trace id is the request's id, in logs and in problem documents. Pure but for drawing ids.
"""

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?"
)


@dataclass(frozen=True, slots=True)
class Trace:
    """One request: its trace, and the span that it is here."""

    trace_id: str
    span_id: str
    flags: str

    @property
    def traceparent(self) -> str:
        """Return the header field that stands for this."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def begin_trace(traceparent: str) -> Trace:
    """Return a new span in the client's trace, or in a new trace where the client has none."""
    parent = _TRACEPARENT.fullmatch(traceparent.strip())
    trace_id, flags = (parent[1], parent[2]) if parent else (f"{random.getrandbits(128) or 1:032x}", "00")
    return Trace(trace_id, f"{random.getrandbits(64) or 1:016x}", flags)


class RequestSpan(Protocol):
    """A request in its trace, until it has ended."""

    @property
    def trace(self) -> Trace:
        """The trace."""

    def end(self, *, status: int, model: str, stage_s: Mapping[str, float]) -> None:
        """Say how it ended."""


Begin = Callable[[str, str], RequestSpan]
"""Begins the span of a request, from its traceparent and its route."""


@dataclass(frozen=True, slots=True)
class Untraced:
    """A request whose trace goes nowhere."""

    trace: Trace

    def end(self, *, status: int, model: str, stage_s: Mapping[str, float]) -> None:
        """Say nothing."""


def begin_untraced(traceparent: str, route: str) -> RequestSpan:  # noqa: ARG001 - as Begin has it
    """Begin a span that is never sent."""
    return Untraced(begin_trace(traceparent))
