"""The users of one process: they take seats, and work one shift at a time.

A user asks for its turn and sends; whoever directs the crew begins and ends its shifts. Runs in gevent's
loop, in one thread; knows neither locust nor plans.
"""

import heapq
import itertools
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import gevent
from gevent.event import Event

from loadgen.bodies import Body
from loadgen.checks import Checks
from loadgen.client import BasecallClient
from loadgen.pauses import Pauses
from loadgen.shift import Assignment, Outcome, Shift
from loadgen.tally import Tally
from loadgen.window import Window


@dataclass(frozen=True, slots=True)
class Played:
    """What came of an assignment with an end, in one process. For the words see observation.Observation."""

    elapsed_s: float
    windows: tuple[Window, ...]
    total: Tally
    cpu_s: float
    busiest: float
    """Share of a core that the process used in its windows."""
    gc_pause_s: float
    """How long the garbage collector held the process in its windows."""

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Read what `dataclasses.asdict` made."""
        windows = tuple(Window.from_plain(window) for window in plain["windows"])
        return cls(**{**plain, "windows": windows, "total": Tally.from_plain(plain["total"])})


class Crew:
    """The users of this process, who take seats, and at most one shift at a time."""

    def __init__(self, bodies: Sequence[Body] = ()) -> None:
        self.bodies = bodies
        self.checks: Checks | None = None
        """What answers are held against; nothing where None."""
        self.pauses = Pauses()
        self._unreported = Tally()
        self._shift: Shift | None = None
        self._news = Event()
        self._dismissed = False
        self._free_seats: list[int] = []
        self._new_seats = itertools.count()

    def take_seat(self) -> int:
        """Return the lowest free seat; the first `users` seats take part in a shift."""
        return heapq.heappop(self._free_seats) if self._free_seats else next(self._new_seats)

    def leave_seat(self, seat: int) -> None:
        """Free a seat."""
        heapq.heappush(self._free_seats, seat)

    def turn(self, seat: int) -> Shift | None:
        """Wait until there is work for this seat and return the shift; None when the crew is dismissed."""
        while not self._dismissed:
            shift = self._shift
            if shift is not None and not shift.ended.is_set():
                users = shift.assignment.users
                if users is None or seat < users:
                    return shift
            self._news.wait()
        return None

    def send(self, shift: Shift, client: BasecallClient, due_s: float | None = None) -> Outcome:
        """Send one request of `shift`, and count it also among what was not reported yet."""
        outcome = shift.send(client, due_s)
        outcome.count_in(self._unreported)
        return outcome

    def miss(self, shift: Shift, due_s: float, next_due: Iterator[float]) -> None:
        """Count what was due and not started when `shift` ended, also among what was not reported yet."""
        self._unreported.merge(shift.miss(due_s, next_due))

    def take_unreported(self) -> Tally:
        """Return what was counted since this was last asked; no request is counted twice or left out."""
        tally, self._unreported = self._unreported, Tally()
        return tally

    def begin(self, assignment: Assignment) -> Shift:
        """Begin a shift: its users start sending."""
        self._dismissed = False
        self._shift = Shift(assignment, self.bodies, self.checks)
        self._spread_news()
        return self._shift

    def end(self, limit_s: float) -> bool:
        """End the shift, if there is one; return whether its last request ended within `limit_s`.

        Who ends it a second time meanwhile waits as well.
        """
        shift = self._shift
        if shift is None:
            return True
        idle = shift.end(limit_s)
        if self._shift is shift:
            self._shift = None
        return idle

    def dismiss(self) -> None:
        """Send the users away."""
        self._dismissed = True
        self._spread_news()

    def _spread_news(self) -> None:
        news, self._news = self._news, Event()
        news.set()

    def play(self, assignment: Assignment, on_begin: Callable[[], None] = lambda: None) -> Played:
        """Work a whole shift, from its release, of which `on_begin` is told, to its last answer."""
        cpu_before_s = _cpu_s()
        shift = self.begin(assignment)
        on_begin()
        gevent.sleep(assignment.settle_s)
        began = time.perf_counter(), time.process_time(), self.pauses.total_s
        gevent.sleep(max(0.0, shift.released_s + assignment.block_s - time.perf_counter()))
        ended = time.perf_counter(), time.process_time(), self.pauses.total_s
        # Requests give up at `drain_s` by themselves: the limit only bounds this wait.
        self.end(assignment.drain_s + 5.0)
        return Played(
            elapsed_s=time.perf_counter() - shift.released_s,
            windows=shift.windows,
            total=shift.total,
            cpu_s=_cpu_s() - cpu_before_s,
            busiest=(ended[1] - began[1]) / (ended[0] - began[0]),
            gc_pause_s=ended[2] - began[2],
        )


def _cpu_s() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
