"""Headroom: how many times faster the GPUs could get before a path limits them, and at which bases/s.

    headroom = samples/s of the null arm / samples/s of the model arm    (geometric mean over the rounds)
    ceiling  = headroom * bases/s of the model arm                       [bases/s]

Samples and not bases are divided, because the two arms answer with different numbers of bases. The null arm
pays for both ends' HTTP, too, so that the ceiling is that of path, client and service front end together: a
lower bound of what the path alone would carry. A line carries

    line limit = line rate / (8 * payload bytes a base in the larger direction)       [bases/s]

shared by all GPUs behind it; payload, without any headers, so that it is an upper bound. GPUs that have a
service front end and clients of their own each, like those measured, reach together

    limit of n GPUs = min(n * ceiling, line limit)                       [bases/s]

Pure.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from loadgen.tally import Tally
from loadgen.verdict import ERROR_RATE, as_ratio, interval

GPUS = (1, 8, 64)
"""Numbers of GPUs behind one path for which the expected limit is given."""
LINE_RATES_BITS_PER_S = (1e9, 10e9, 25e9, 100e9)
"""Line rates for which the expected limit is given."""


@dataclass(frozen=True, slots=True)
class Headroom:
    """What is left of one path above the model arm."""

    path: str
    factor: float
    """How many times faster than now the network evaluation may get; nan without rounds."""
    low: float
    """Lower end of the 95 % interval of the factor, of this path alone."""
    high: float
    ceiling_bases_per_s: float


@dataclass(frozen=True, slots=True)
class LineLimit:
    """What a line carries, whatever the path."""

    line_rate_bits_per_s: float
    bases_per_s: float
    each_gpu_bases_per_s: dict[int, float]
    """For each number of GPUS behind the line, the bases/s of each of them at which it is full."""


@dataclass(frozen=True, slots=True)
class ExpectedLimit:
    """What a number of GPUs reach together over one path before path or line stops them."""

    path: str
    line_rate_bits_per_s: float
    gpus: int
    bases_per_s: float
    limited_by: Literal["path", "line"]
    factor: float
    """How many times faster than now each GPU may get; less than 1 where they are too many already."""


def headroom(path: str, log_factors: Sequence[float], model_bases_per_s: float) -> Headroom:
    """Return the headroom of a path. `log_factors` has one log(null samples/s / model samples/s) a round."""
    values = np.asarray(log_factors, dtype=np.float64)
    low, high = (as_ratio(float(end)) for end in interval(values, ERROR_RATE))
    factor = as_ratio(float(values.mean())) if len(values) else math.nan
    return Headroom(path, factor, low, high, factor * model_bases_per_s)


def line_limits(tally: Tally, given_bits_per_s: float | None = None) -> tuple[LineLimit, ...]:
    """Return what lines carry of the payload of `tally`: the one of the given rate first, where there is one,
    and one of each of LINE_RATES_BITS_PER_S. None without bases."""
    if not tally.bases:
        return ()
    bits_per_base = 8 * max(tally.request_bytes, tally.response_bytes) / tally.bases
    rates = dict.fromkeys((given_bits_per_s or LINE_RATES_BITS_PER_S[0], *LINE_RATES_BITS_PER_S))
    return tuple(
        LineLimit(rate, rate / bits_per_base, {gpus: rate / bits_per_base / gpus for gpus in GPUS})
        for rate in rates
    )


def expected_limits(
    headrooms: Iterable[Headroom], lines: Sequence[LineLimit], *, beside_the_line: frozenset[str]
) -> Iterator[ExpectedLimit]:
    """Yield what GPUS reach over each path and line; the paths `beside_the_line` never leave their node."""
    for path in headrooms:
        if not math.isfinite(path.ceiling_bases_per_s):
            continue
        now_bases_per_s = path.ceiling_bases_per_s / path.factor
        for line in lines:
            line_bases_per_s = math.inf if path.path in beside_the_line else line.bases_per_s
            for gpus in GPUS:
                limit = min(gpus * path.ceiling_bases_per_s, line_bases_per_s)
                yield ExpectedLimit(
                    path=path.path,
                    line_rate_bits_per_s=line.line_rate_bits_per_s,
                    gpus=gpus,
                    bases_per_s=limit,
                    limited_by="line" if limit == line_bases_per_s else "path",
                    factor=limit / (gpus * now_bases_per_s),
                )
