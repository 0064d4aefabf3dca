"""One user of a crew: takes a seat, and sends when it is its turn.

In a closed loop that is one read after the other, each as soon as the last was answered. In an open loop it
is a read whenever one is due, in a greenlet of its own. Knows neither locust nor plans.
"""

from collections.abc import Callable, Iterator

from loadgen.client import BasecallClient
from loadgen.crew import Crew
from loadgen.shift import Outcome, Shift

AFTER_FAILURE_S = 0.2
"""How long a user of a closed loop stays away after a failure, so that a dead service is not hammered."""

Report = Callable[[Shift, Outcome], None]


class Sender:
    """A user with a seat, until `leave`; `report` is told of every request that ended."""

    def __init__(self, crew: Crew, report: Report) -> None:
        self._crew = crew
        self._report = report
        self._seat = crew.take_seat()
        self._shift: Shift | None = None
        self._client: BasecallClient | None = None
        self._due: Iterator[float] = iter(())

    def leave(self) -> None:
        """Leave the crew."""
        self._crew.leave_seat(self._seat)
        if self._shift and self._client:
            self._shift.close_client(self._client)

    def work(self) -> bool:
        """Wait for this user's turn and send a read; return False when the crew is dismissed."""
        shift = self._crew.turn(self._seat)
        if shift is None:
            return False
        is_open = shift.assignment.user_rate is not None
        if shift is not self._shift:
            self._shift = shift
            self._client = None if is_open else shift.open_client()
            self._due = shift.schedule(self._seat)
        if self._client is None:
            self._send_when_due(shift)
        else:
            self._send_at_once(shift, self._client)
        return True

    def _send_at_once(self, shift: Shift, client: BasecallClient) -> None:
        outcome = self._crew.send(shift, client)
        self._report(shift, outcome)
        if outcome.error:
            shift.ended.wait(max(AFTER_FAILURE_S, outcome.error.retry_after_s))

    def _send_when_due(self, shift: Shift) -> None:
        due_s = next(self._due)
        if shift.wait_until_due(due_s):
            shift.start(
                due_s, lambda client, due_s: self._report(shift, self._crew.send(shift, client, due_s))
            )
        else:
            self._crew.miss(shift, due_s, self._due)
