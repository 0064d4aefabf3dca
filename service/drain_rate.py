"""How fast an engine works, in samples per second: what every promise about time is computed from. Pure."""

import math
from dataclasses import dataclass

FULL = 0.5
"""From what fill on a batch shows how fast full ones are."""
HALF_LIFE_S = 20.0
"""Seconds of work after which an observation counts half."""


@dataclass(slots=True)
class DrainRate:
    """A mean over the last batches, weighted by their time."""

    samples: float = 0.0
    busy_s: float = 0.0

    @property
    def samples_per_s(self) -> float:
        """Return the rate; infinite before anything was seen."""
        return self.samples / self.busy_s if self.busy_s else math.inf

    def add(self, samples: float, busy_s: float, *, fill: float) -> None:
        """Count a batch that cost `samples`, took `busy_s` and was filled to `fill` (0 to 1).

        A batch that is far from full takes more time a sample than a full one would: it can only show that
        the engine is faster than was thought.
        """
        if busy_s <= 0 or (fill < FULL and samples / busy_s < self.samples_per_s < math.inf):
            return
        kept = 0.5 ** (busy_s / HALF_LIFE_S)
        self.samples = self.samples * kept + samples
        self.busy_s = self.busy_s * kept + busy_s
