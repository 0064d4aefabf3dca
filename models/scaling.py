"""From a read's samples to what a network is trained on: where the strand begins, and what is 0 and 1.

med_mad: less the median, over 1.4826 median absolute deviations; independent of calibration. quantile: shift
and scale from two quantiles [pA], as Bonito's kit 14 models before v4.3. pa: picoamperes, standardised by
constants of the model. Source: Bonito's reader and Dorado's, which trim and scale alike.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reads.read import Read

LEAST_TRIM = 10
"""Samples that are always cut from the start of a read that is trimmed."""
WINDOW, PEAK, MOST_SAMPLES, LEAST_IN_PEAK = 40, 2.4, 8000, 3
"""An adapter's peak: more than three of a window's samples over 2.4, within the first half of a read, and not
beyond 8,000 samples."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """How a model's signal is scaled; the quantiles are of "quantile" alone, mean and sd [pA] of "pa"."""

    strategy: str
    quantile_a: float = 0.2
    quantile_b: float = 0.9
    shift_multiplier: float = 0.51
    scale_multiplier: float = 0.53
    mean: float = 0.0
    stdev: float = 1.0
    standardised: bool = False


def scaled(read: Read, scaling: Scaling) -> NDArray[np.float32]:
    """Return the read's signal as a model takes it, float32 [samples]."""
    if not len(read.signal) or scaling.strategy == "med_mad":
        return normalise(read.signal)
    picoamps = read.calibration.picoamps(read.signal)
    if scaling.strategy == "pa":
        return (picoamps - np.float32(scaling.mean)) / np.float32(scaling.stdev)
    a, b = np.quantile(picoamps, [scaling.quantile_a, scaling.quantile_b])
    shift = max(10.0, scaling.shift_multiplier * float(a + b))
    scale = max(1.0, scaling.scale_multiplier * float(b - a))
    return (picoamps - np.float32(shift)) / np.float32(scale)


def normalise(signal: NDArray[np.int16]) -> NDArray[np.float32]:
    """Return `signal` less its median, over its median absolute deviation times 1.4826, float32 [samples].

    Independent of calibration. A constant signal becomes zeros.
    """
    if not len(signal):
        return np.zeros(0, np.float32)
    values = signal.astype(np.float32)
    median = np.median(values)
    spread = 1.4826 * float(np.median(np.abs(values - median)))
    return (values - median) / np.float32(max(spread, 1.0))


def strand_start(signal: NDArray[np.float32], scaling: Scaling) -> int:
    """Return how many samples of a scaled signal [samples] are cut from its start: what is no strand.

    Where pA are standardised by constants no peak can be told, and the least is cut.
    """
    if scaling.standardised:
        return min(LEAST_TRIM, len(signal))
    searched = min(MOST_SAMPLES, len(signal) // 2) - LEAST_TRIM
    seen = False
    for start in range(LEAST_TRIM, LEAST_TRIM + max(0, searched) // WINDOW * WINDOW, WINDOW):
        above = signal[start : start + WINDOW] > PEAK
        seen = seen or int(above.sum()) > LEAST_IN_PEAK
        if seen and not above[-1]:
            end = start + WINDOW
            return end if end < searched else LEAST_TRIM
    return min(LEAST_TRIM, len(signal))
