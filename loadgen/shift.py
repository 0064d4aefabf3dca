"""A shift: one path and one model worked by the users of a process, from its release to its last answer.

Requests in flight at the end are waited for, so that what was counted here is what the service has counted.
Runs in gevent's loop, in one thread; knows neither locust nor who decides when a shift begins.
"""

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import gevent
from gevent.event import Event

from loadgen.bodies import Body
from loadgen.client import Answer, BasecallClient
from loadgen.errors import CallError, RejectedError
from loadgen.plan import Connection
from loadgen.tally import Tally


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a crew is to do."""

    name: str
    """What its requests are called in locust's tables."""
    url: str
    netns: str | None
    model: str
    connection: Connection
    users: int | None
    """How many of the crew's users take part; None for all."""
    first_read: float
    """Where in the reads to begin, in [0, 1)."""
    settle_s: float
    block_s: float
    drain_s: float
    """How long after `block_s` a request may still be answered."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one request ended: with a right answer, or with an error."""

    request_bytes: int
    client_ms: float
    answer: Answer | None
    error: CallError | None

    def count_in(self, tally: Tally) -> None:
        """Add this request to `tally`."""
        if self.answer is not None:
            tally.add_answer(
                bases=self.answer.bases,
                samples=self.answer.samples,
                request_bytes=self.request_bytes,
                response_bytes=self.answer.response_bytes,
                client_ms=self.client_ms,
                stage_ms=self.answer.stage_ms,
            )
        else:
            tally.add_failure(str(self.error), rejected=isinstance(self.error, RejectedError))


class Shift:
    """An assignment being worked: its clients, its clock, and its counts."""

    def __init__(self, assignment: Assignment, bodies: Sequence[Body]) -> None:
        self.assignment = assignment
        self.ended = Event()
        """Set once no further request may begin."""
        self.window = Tally()
        self.total = Tally()
        self.spread_bases = 0.0
        self.spread_samples = 0.0
        self._bodies = bodies
        self._cursor = itertools.count(int(assignment.first_read * len(bodies)))
        self._clients: set[BasecallClient] = set()
        self._in_flight = 0
        self._idle = Event()
        self._idle.set()
        self.released_s = time.perf_counter()
        self._window_from_s = self.released_s + assignment.settle_s
        self._window_to_s = self.released_s + assignment.block_s
        self._drained_by_s = self._window_to_s + assignment.drain_s

    def open_client(self) -> BasecallClient:
        """Return a client for one user, closed with the shift at the latest."""
        order = self.assignment
        client = BasecallClient(order.url, netns=order.netns, model=order.model, connection=order.connection)
        self._clients.add(client)
        return client

    def close_client(self, client: BasecallClient) -> None:
        """Close the client of a user who leaves."""
        self._clients.discard(client)
        client.close()

    def send(self, client: BasecallClient) -> Outcome:
        """Send the next read and count how it ended."""
        body = self._bodies[next(self._cursor) % len(self._bodies)]
        answer, failure = None, None
        self._in_flight += 1
        self._idle.clear()
        started_s = time.perf_counter()
        try:
            answer = self._answer(client, body, self._drained_by_s - started_s)
        except CallError as error:
            failure = error
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()
        ended_s = time.perf_counter()
        client_ms = answer.client_ms if answer else (ended_s - started_s) * 1e3
        outcome = Outcome(len(body.signal), client_ms, answer, failure)
        self._count(outcome, started_s, ended_s)
        return outcome

    def _count(self, outcome: Outcome, started_s: float, ended_s: float) -> None:
        outcome.count_in(self.total)
        if self._window_from_s <= ended_s < self._window_to_s:
            outcome.count_in(self.window)
        if outcome.answer:
            inside_s = min(ended_s, self._window_to_s) - max(started_s, self._window_from_s)
            share = max(0.0, inside_s) / (ended_s - started_s)
            self.spread_bases += share * outcome.answer.bases
            self.spread_samples += share * outcome.answer.samples

    def _answer(self, client: BasecallClient, body: Body, left_s: float) -> Answer:
        with gevent.Timeout(None if math.isinf(left_s) else max(0.0, left_s)) as drained:
            try:
                return client.basecall(body)
            except gevent.Timeout as timeout:
                if timeout is not drained:
                    raise
                order = self.assignment
                raise CallError(f"no answer within {order.drain_s:g} s of the end of the block") from None

    def end(self, limit_s: float) -> bool:
        """Let no further request begin, wait for those in flight, close every client; return whether all
        had ended within `limit_s`."""
        self.ended.set()
        idle: bool = self._idle.wait(limit_s)
        for client in self._clients:
            client.close()
        self._clients.clear()
        return idle
