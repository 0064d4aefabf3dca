"""When reads arrive in an open loop: a Poisson schedule that a seed alone decides, whatever the service does.

Pure: times are seconds from the start of the schedule; whoever follows it has the clock.
"""

import random
from collections.abc import Iterator


def arrivals(reads_per_s: float, seed: str) -> Iterator[float]:
    """Yield the intended starts, without end, of reads that arrive at `reads_per_s`.

    The gaps are exponential, so that schedules of several seeds are together a schedule of their summed
    rates.
    """
    chance = random.Random(seed)
    at_s = 0.0
    while True:
        at_s += chance.expovariate(reads_per_s)
        yield at_s
