"""Which samples of a read belong to which base of a known sequence.

A hidden Markov model with one state a base, Gaussian emissions around the level that `reads.levels` gives
for the base's k-mer, and a junk state before and after (adapter, clipped ends). Viterbi in a band that
follows the best state. Knows no files and no references: those are handed in as levels.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

BAND = 1200
"""Bases on either side of the best one that stay in play, together."""
FOLLOW = 16
"""Samples after which the band moves on to where the best base is; it is much wider than they can pass."""
STAY, ADVANCE = np.float32(np.log(8.0 / 9.0)), np.float32(np.log(1.0 / 9.0))
"""4 kHz at about 450 bases/s: nine samples a base."""
JUNK = np.float32(0.2)
"""Log-likelihood of a sample that belongs to no base, a little under what a well aligned one scores: else the
adapter is shared out among the first bases, whose dwell may be long at little cost."""
WORST = np.float32(-8.0)
"""No single sample counts for more than being four SDs off: spikes must not bend the path."""
_NEVER = np.float32(-1e30)
"""The score of what cannot be; finite, that sums of it are numbers."""


@njit(cache=True, nogil=True, error_model="numpy")
def _step(x, means, inv_sds, log_sds, stayed, advanced, stay, advance, worst, into, came):  # type: ignore[no-untyped-def]
    """Fill `into` and `came` [band] with the score of each base after a sample `x`, and whether it was
    advanced to. One loop over arrays of one type and no branches: the compiler makes vectors of it."""
    for j in range(len(into)):
        waited = stayed[j] + stay
        moved = advanced[j] + advance
        z = (x - means[j]) * inv_sds[j]
        emission = np.float32(-0.5) * z * z - log_sds[j]
        emission = max(worst, emission)
        into[j] = max(waited, moved) + emission
        came[j] = moved > waited


@njit(cache=True, nogil=True)
def _viterbi(  # type: ignore[no-untyped-def]
    signal, means, inv_sds, log_sds, band, stay, advance, junk, worst
):
    """Return starts int64 [bases + 1], starts[0] -1 where there is no path, and the score a sample."""
    samples, bases = len(signal), len(means)
    width = min(band, bases)
    low = np.zeros(samples, np.int64)
    came = np.zeros((samples, width), np.uint8)  # 0 stay, 1 from the base before, 2 from junk
    # Base start + j is at 1 + j; what is left and right of the band is never reached.
    previous = np.full(2 * width + 1, _NEVER, np.float32)
    current = np.full(2 * width + 1, _NEVER, np.float32)
    end_score, end_sample = -np.inf, -1
    start = 0
    for t in range(samples):
        shift = 0
        if t % FOLLOW == FOLLOW - 1:
            best = np.argmax(previous[1 : 1 + width])
            moved = min(max(start, start + best - width // 2), bases - width)
            start, shift = moved, moved - start
        low[t] = start
        end = start + width
        _step(
            signal[t], means[start:end], inv_sds[start:end], log_sds[start:end],
            previous[1 + shift : 1 + shift + width], previous[shift : shift + width],
            stay, advance, worst, current[1 : 1 + width], came[t],
        )  # fmt: skip
        if start == 0 and junk * t > previous[1] + stay:
            z = (signal[t] - means[0]) * inv_sds[0]
            current[1] = junk * t + max(np.float32(-0.5) * z * z - log_sds[0], worst)
            came[t, 0] = 2
        last = bases - 1 - start
        if last < width and current[1 + last] + junk * (samples - 1 - t) > end_score:
            end_score = current[1 + last] + junk * (samples - 1 - t)
            end_sample = t
        previous, current = current, previous
    starts = np.full(bases + 1, -1, np.int64)
    if end_score < _NEVER / 2:
        return starts, -np.inf
    starts[bases] = end_sample + 1
    i = bases - 1
    t = end_sample
    while True:
        step = came[t, i - low[t]]
        if step == 0:
            t -= 1
            continue
        starts[i] = t
        if step == 2:
            break
        i -= 1
        t -= 1
    aligned = max(end_sample + 1 - starts[0], 1)
    return starts, (end_score - junk * (samples - aligned)) / aligned


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """`starts` int64 [bases + 1]: base i is samples starts[i] to starts[i + 1]. `score` is the mean
    log-likelihood of an aligned sample; `shift` and `scale` took the signal to the levels' unit."""

    starts: NDArray[np.int64]
    score: float
    shift: float
    scale: float


def resquiggle(
    signal: NDArray[np.float32], means: NDArray[np.float32], sds: NDArray[np.float32], *, rounds: int = 3
) -> Alignment | None:
    """Align `signal` [samples] to the levels `means`, `sds` [bases], or return None where nothing fits.

    The scaling starts from median and MAD of both sides and is refitted to the aligned bases each round
    by least squares on their medians.
    """
    if len(means) < 20 or len(signal) < 3 * len(means):
        return None
    shift, scale = float(np.median(signal)), _mad(signal)
    level_shift, level_scale = float(np.median(means)), _mad(means)
    scale /= level_scale
    shift -= scale * level_shift
    inverse, log_sds = (1 / sds).astype(np.float32), np.log(sds).astype(np.float32)
    starts = np.zeros(0, np.int64)
    score = -np.inf
    for _ in range(rounds):
        scaled = ((signal - np.float32(shift)) / np.float32(scale)).astype(np.float32)
        starts, score = _viterbi(scaled, means, inverse, log_sds, BAND, STAY, ADVANCE, JUNK, WORST)
        if starts[0] < 0:
            return None
        observed = base_means(signal, starts)
        design = np.stack([means, np.ones_like(means)], axis=1)
        keep = np.abs((observed - shift) / scale - means) < 3 * np.median(sds) + 0.2
        if keep.sum() < 20:
            return None
        (scale, shift), *_ = np.linalg.lstsq(design[keep], observed[keep], rcond=None)
        if scale <= 0:
            return None
    return Alignment(starts, float(score), float(shift), float(scale))


def base_means(signal: NDArray[np.float32], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean of the samples of each base, float64 [bases]."""
    sums = np.add.reduceat(signal[: starts[-1]].astype(np.float64), starts[:-1])
    return sums / np.diff(starts)


def _mad(values: NDArray[np.float32]) -> float:
    return float(np.median(np.abs(values - np.median(values)))) * 1.4826
