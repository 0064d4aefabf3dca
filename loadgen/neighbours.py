"""How much of this machine's CPU others take while a run goes on that has client and server on it.

What they take comes and goes, and is the noise of the run. Pure but for `machine_now`; knows no paths.
"""

import os
import time
from dataclasses import dataclass

import psutil

from loadgen.gates import Gate
from loadgen.observation import Observation

MOST_SHARE = 0.05
"""Above this share of all cores the machine does not count as quiet."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The machine's CPU at some time."""

    clock_s: float
    busy_s: float
    """CPU seconds of all cores so far, without those of interrupts: networking is ours."""
    cores: int


def machine_now() -> Moment:
    """Read this machine's CPU."""
    times = psutil.cpu_times()
    busy_s = times.user + times.nice + times.system + getattr(times, "steal", 0.0)
    return Moment(time.monotonic(), busy_s, os.cpu_count() or 1)


class Neighbours:
    """A watch over the machine's CPU, from the first block that is noted to the last."""

    def __init__(self) -> None:
        self._began: Moment | None = None
        self._share: float | None = None
        self._ours_s = 0.0

    def note(self, observation: Observation, now: Moment) -> None:
        """Take what a block that has just ended used itself; the first one begins the watch."""
        if self._began is None:
            self._began = now
            return
        self._ours_s += observation.client_cpu_s + (observation.server_cpu_s or 0.0)
        others_s = now.busy_s - self._began.busy_s - self._ours_s
        self._share = max(0.0, others_s) / ((now.clock_s - self._began.clock_s) * now.cores)

    def gate(self) -> Gate:
        """Say whether the machine was quiet."""
        if self._share is None:
            return Gate("quiet machine", True, "too few blocks to tell")
        detail = f"others took {self._share:.0%} of its CPU, of which {MOST_SHARE:.0%} are allowed"
        return Gate("quiet machine", self._share <= MOST_SHARE, detail)
