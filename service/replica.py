"""One replica as its clients see it: how many requests it is sent at once, and when it is left alone.

The limit grows by one for every answer until the first refusal, and from then on by one for every round of
answers; a refusal halves it. It does not grow where it is not used up, nor where requests queue at the
replica already for as long as keeps it busy. Pure: clock and chance are handed in.
"""

import math
from dataclasses import dataclass, field

FIRST_LIMIT = 4.0
MOST_IN_FLIGHT = 64
"""More would not make a Python client faster: its connections are looked through for every request."""
QUEUE_GOAL_S = 1.0
"""A queue at the replica that is this long keeps it busy: a longer one would only make everybody wait."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 10.0
"""How long it is left alone after a first trouble for which it names no time; doubled for each in a row."""
LONGEST_RETRY_AFTER_S = 60.0
"""The longest that it is left alone on its word."""
JITTER = 0.25
"""By how much of it a pause is longer at most, so that clients refused at once do not come again at once."""


@dataclass(slots=True, eq=False)
class Replica:
    """What is known of the replica at `url`. Those that are not `up` are probed, and sent no reads."""

    url: str
    up: bool = True
    in_flight: int = 0
    limit: float = FIRST_LIMIT
    closed_until_s: float = -math.inf
    """It is left alone until then."""
    _slow_start: bool = field(default=True, init=False)
    _halved_s: float = field(default=-math.inf, init=False)
    _troubles: int = field(default=0, init=False)
    """Refusals without a time and losses since it last answered."""

    def takes(self, now_s: float) -> bool:
        """Return whether it can be sent a request now."""
        return self.up and now_s >= self.closed_until_s and self.in_flight < int(self.limit)

    @property
    def load(self) -> float:
        """Return how much of what it may have in flight it has."""
        return self.in_flight / self.limit

    def sent(self) -> None:
        """Note a request."""
        self.in_flight += 1

    def ended(self) -> None:
        """Note that a request came to an end that tells nothing of the replica."""
        self.in_flight -= 1

    def answered(self, queue_s: float) -> None:
        """Note that a request was answered after it had been queued for `queue_s`."""
        used_up = self.in_flight >= int(self.limit)
        self.in_flight -= 1
        self._troubles = 0
        if used_up and queue_s < QUEUE_GOAL_S:
            self.limit = min(MOST_IN_FLIGHT, self.limit + (1.0 if self._slow_start else 1.0 / self.limit))

    def refused(self, now_s: float, *, sent_s: float, retry_after_s: float | None, chance: float) -> None:
        """Note that a request of `sent_s` was refused, to come again after a time that the replica may name.

        `chance` is a number between 0 and 1.
        """
        self.in_flight -= 1
        if retry_after_s is None:
            pause_s = self._next_pause_s()
        else:
            pause_s = min(max(retry_after_s, FIRST_PAUSE_S), LONGEST_RETRY_AFTER_S)
        self.closed_until_s = max(self.closed_until_s, now_s + pause_s * (1.0 + JITTER * chance))
        # What was sent before the limit was halved says nothing about the half.
        if sent_s >= self._halved_s:
            self.limit = max(1.0, self.limit / 2)
            self._halved_s = now_s
        self._slow_start = False

    def lost(self) -> None:
        """Note that a connection was lost, or none could be made."""
        self.in_flight -= 1
        self.up = False

    def next_probe_s(self, chance: float) -> float:
        """Return how long to wait before it is probed again; not at all at first."""
        wait_s = self._next_pause_s() if self._troubles else 0.0
        self._troubles = max(1, self._troubles)
        return wait_s * (1.0 + JITTER * chance)

    def found(self) -> None:
        """Note that a probe found it ready: what was known of its limit may be another process's."""
        self.up = True
        self.limit, self._slow_start = FIRST_LIMIT, True

    def _next_pause_s(self) -> float:
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._troubles, 10))
        self._troubles += 1
        return pause_s
