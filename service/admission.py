"""Admission: whether a request is taken on, decided from its headers before its body is read.

Counts in samples what is admitted and not answered, and promises time at the measured drain rate. Everything
here happens in the event loop, so nothing is locked. Knows neither bodies nor engines.
"""

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from service.errors import BacklogFullError, ClientBusyError, DeadlineError
from service.job import Priority
from service.settings import Settings

SHARES = {Priority.HIGH: 1.0, Priority.NORMAL: 0.9, Priority.LOW: 0.8}
"""How much of the memory for signal each class may fill: some is left for those who are more urgent."""
REQUEST_SAMPLES = 16 * 1024
"""What a request costs in memory besides its signal, in samples: the buffers of its connection."""


@dataclass(slots=True, eq=False)
class Ticket:
    """An admitted request. `samples` is what it is counted for; `samples_per_s` the rate it was promised."""

    model: str
    client: str
    priority: Priority
    samples_per_s: float
    samples: int = 0


class Admission:
    """What is admitted, by model, priority and client."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._backlog: Counter[tuple[str, Priority]] = Counter()
        self._clients: Counter[str] = Counter()

    def backlog_samples(self, model: str, least: Priority = Priority.LOW) -> int:
        """Return the cost of what is admitted for `model` and not answered, as urgent as `least` or more."""
        return sum(self._backlog[model, priority] for priority in Priority if priority <= least)

    @contextmanager
    def admit(
        self,
        *,
        model: str,
        client: str,
        priority: Priority,
        samples: int,
        samples_per_s: float,
        within_s: float = math.inf,
    ) -> Iterator[Ticket]:
        """Hold a place for a request that costs `samples` and is to be answered in `within_s` seconds.

        Raises BusyError where it cannot be done, or not in time.
        """
        wait_s = self.backlog_samples(model, priority) / samples_per_s
        if self._clients[client] >= self._settings.max_per_client:
            raise ClientBusyError(
                f"this client has {self._clients[client]} requests in flight, the most it may have; "
                "send the next when one is answered",
                retry_after_s=wait_s,
            )
        if wait_s > self._settings.max_backlog_s:
            raise BacklogFullError(
                f"{wait_s:.0f} s of work is waiting for {model}, and at most "
                f"{self._settings.max_backlog_s:g} s may",
                retry_after_s=wait_s - self._settings.max_backlog_s,
            )
        needed_s = wait_s + samples / samples_per_s
        if needed_s > within_s:
            raise DeadlineError(
                f"the answer would take about {needed_s:.1f} s and is wanted in {within_s:.1f} s; "
                "allow more, or come again when less is waiting",
                retry_after_s=needed_s - within_s,
            )
        ticket = Ticket(model, client, priority, samples_per_s)
        self._clients[client] += 1
        try:
            self.resize(ticket, samples)
            yield ticket
        finally:
            self.resize(ticket, 0)
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]

    def resize(self, ticket: Ticket, samples: int) -> None:
        """Count `samples` for a ticket from now on. Raises BacklogFullError where memory lacks for more."""
        more = samples - ticket.samples
        held = self._backlog.total() + self._clients.total() * REQUEST_SAMPLES
        excess = held + more - SHARES[ticket.priority] * self._settings.max_signal_samples
        if more > 0 and excess > 0:
            raise BacklogFullError(
                f"the memory for queued signal, {self._settings.max_signal_mib} MiB, is full",
                retry_after_s=excess / ticket.samples_per_s,
            )
        ticket.samples = samples
        self._backlog[ticket.model, ticket.priority] += more
