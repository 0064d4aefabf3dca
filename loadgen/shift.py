"""A shift: one path and one model worked by the users of a process, from its release to its last answer.

Requests in flight at the end are waited for, so that what was counted here is what the service has counted.
Runs in gevent's loop, in one thread; knows neither locust nor who decides when a shift begins.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import gevent
from gevent.event import Event
from gevent.pool import Pool

from loadgen.arrivals import arrivals
from loadgen.bodies import Body
from loadgen.checks import Checks
from loadgen.client import Answer, BasecallClient
from loadgen.errors import CallError, RejectedError
from loadgen.plan import Connection
from loadgen.tally import Tally
from loadgen.window import Window

MOST_IN_FLIGHT = 1000
"""The most requests of an open loop that one process has in flight; those due beyond it start late."""


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
    windows: int = 1
    """Into how many equal windows the time from `settle_s` to `block_s` is cut."""
    user_rate: float | None = None
    """An open loop: the reads/s that arrive for each user, by a Poisson schedule; None for a closed loop."""
    seed: str = ""
    """Decides, with the number of its seat, a user's schedule."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one request ended: with a right answer, or with an error."""

    request_bytes: int
    client_ms: float
    answer: Answer | None
    error: CallError | None
    lag_ms: float | None = None
    """How late it was started; None in a closed loop."""
    checked: bool = False
    """Whether its sequence was compared with another call of the read."""

    @property
    def latency_ms(self) -> float:
        """From the intended start to the end."""
        return self.client_ms + (self.lag_ms or 0.0)

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
                lag_ms=self.lag_ms,
                checked=self.checked,
            )
        else:
            rejected = isinstance(self.error, RejectedError)
            tally.add_failure(str(self.error), rejected=rejected, lag_ms=self.lag_ms)


class Shift:
    """An assignment being worked: its clients, its clock, and its counts."""

    def __init__(self, assignment: Assignment, bodies: Sequence[Body], checks: Checks | None = None) -> None:
        self.assignment = assignment
        self.ended = Event()
        """Set once no further request may begin."""
        self.windows = tuple(Window() for _ in range(assignment.windows))
        self.total = Tally()
        self._bodies = bodies
        self._checks = checks
        self._cursor = itertools.count(int(assignment.first_read * len(bodies)))
        self._clients: set[BasecallClient] = set()
        self._free_clients: list[BasecallClient] = []
        self._due = Pool(MOST_IN_FLIGHT)
        self._in_flight = 0
        self._idle = Event()
        self._idle.set()
        self.released_s = time.perf_counter()
        self._measured_from_s = self.released_s + assignment.settle_s
        self._measured_to_s = self.released_s + assignment.block_s
        self._window_s = (assignment.block_s - assignment.settle_s) / assignment.windows
        self._drained_by_s = self._measured_to_s + assignment.drain_s
        self._ended_s = math.inf
        self._ended_full = False

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

    def schedule(self, seat: int) -> Iterator[float]:
        """Yield when requests of the user on `seat`, who begins now, are due on the clock of
        `time.perf_counter`; nothing in a closed loop."""
        if self.assignment.user_rate is not None:
            began_s = time.perf_counter()
            for after_s in arrivals(self.assignment.user_rate, f"{self.assignment.seed}/{seat}"):
                yield began_s + after_s

    def wait_until_due(self, due_s: float) -> bool:
        """Wait until a request is due and may be started; say whether that was before the end of the
        shift."""
        while (left_s := due_s - time.perf_counter()) > 0:
            if self.ended.wait(left_s):
                return False
        while self._due.full() and not self.ended.is_set():
            self._due.wait_available()
        return not self.ended.is_set()

    def start(self, due_s: float, send: Callable[[BasecallClient, float], None]) -> None:
        """Have `send` send a request that is due, in a greenlet of its own with a client of its own."""

        def run() -> None:
            client = self._free_clients.pop() if self._free_clients else self.open_client()
            try:
                send(client, due_s)
            finally:
                self._free_clients.append(client)

        self._due.spawn(run)

    def miss(self, due_s: float, next_due: Iterator[float]) -> Tally:
        """Count a request that was not started when the shift ended, if it was due, and all that were due
        after it; return what was counted.

        They lag at least until then; where as many are in flight as may be, they could not have been started.
        """
        missed = Tally()
        while due_s < min(self._ended_s, self._measured_to_s):
            of_this = Tally(unstarted=int(self._ended_full))
            of_this.lag.add((self._ended_s - due_s) * 1e3)
            missed.merge(of_this)
            if window := self._window_at(due_s):
                window.tally.merge(of_this)
            due_s = next(next_due)
        self.total.merge(missed)
        return missed

    def send(self, client: BasecallClient, due_s: float | None = None) -> Outcome:
        """Send the next read, which in an open loop was due at `due_s`, and count how it ended."""
        body = self._bodies[next(self._cursor) % len(self._bodies)]
        answer, failure, checked = None, None, False
        self._in_flight += 1
        self._idle.clear()
        started_s = time.perf_counter()
        try:
            answer = self._answer(client, body, self._drained_by_s - started_s)
            checked = self._checks is not None and self._checks.check(
                self.assignment.model, body.read_id, answer.sequence
            )
        except CallError as error:
            answer, failure = None, error
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()
        ended_s = time.perf_counter()
        outcome = Outcome(
            request_bytes=len(body.content),
            client_ms=answer.client_ms if answer else (ended_s - started_s) * 1e3,
            answer=answer,
            error=failure,
            lag_ms=None if due_s is None else max(0.0, started_s - due_s) * 1e3,
            checked=checked,
        )
        self._count(outcome, started_s, ended_s, belongs_s=ended_s if due_s is None else due_s)
        return outcome

    def _count(self, outcome: Outcome, started_s: float, ended_s: float, *, belongs_s: float) -> None:
        outcome.count_in(self.total)
        if window := self._window_at(belongs_s):
            outcome.count_in(window.tally)
        if outcome.answer:
            for number, window in enumerate(self.windows):
                from_s = self._measured_from_s + (number * self._window_s if number else 0.0)
                inside_s = min(ended_s, from_s + self._window_s) - max(started_s, from_s)
                share = max(0.0, inside_s) / (ended_s - started_s)
                window.spread(share, bases=outcome.answer.bases, samples=outcome.answer.samples)

    def _window_at(self, moment_s: float) -> Window | None:
        """Return the window that a moment lies in, if any."""
        if not self._measured_from_s <= moment_s < self._measured_to_s:
            return None
        # The windows of a shift without an end are one.
        number = 0 if math.isinf(self._window_s) else int((moment_s - self._measured_from_s) / self._window_s)
        return self.windows[min(number, len(self.windows) - 1)]

    def _answer(self, client: BasecallClient, body: Body, left_s: float) -> Answer:
        if math.isinf(left_s):
            return client.basecall(body)
        with gevent.Timeout(max(0.0, left_s)) as drained:
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
        if not self.ended.is_set():
            self._ended_s, self._ended_full = time.perf_counter(), self._due.full()
        self.ended.set()
        give_up_s = time.perf_counter() + limit_s
        self._due.join(limit_s)
        idle: bool = self._idle.wait(max(0.0, give_up_s - time.perf_counter())) and not len(self._due)
        for client in self._clients:
            client.close()
        self._clients.clear()
        return idle
