"""What current a pore shows for each k-mer, how long it dwells there, and how noisy it is.

Levels are in the unit of the read's own median and MAD (times 1.4826), so that a scaling per read is all
that stands between them and pA. The tables shipped beside this file were estimated by `fit` from reads
aligned with `reads.resquiggle`; they are this project's own estimates.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from reads.resquiggle import Alignment

LONGEST_DWELL = 120
"""Longest dwell that the table tells apart, in samples."""
OUTLYING = 3.0
"""Robust SDs from which on a residual is not noise."""
DISTINCT = 0.7
"""Least step to both neighbours, in level units, of a visit whose dwell counts: between like levels, an
alignment shares the samples out at will."""
SETTLED = 6
"""Shortest visit whose inside tells the noise, in samples."""
PRIOR_COUNT = 3.0
"""How many observations the former estimate of a level is worth."""


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """One chemistry. `means`, `spreads` float32 [4**k]: a k-mer's level, and how it varies from one visit
    to the next; `dwell` float64 [LONGEST_DWELL]: probability of 1, 2, ... samples; noise inside a visit is
    white (`white_sd`) plus first-order autoregressive (`slow_sd`, `slow_rho`). `centre_pa` and `width_pa`
    are the typical median and MAD of a read in pA."""

    k: int
    means: NDArray[np.float32]
    spreads: NDArray[np.float32]
    dwell: NDArray[np.float64]
    white_sd: float
    slow_sd: float
    slow_rho: float
    centre_pa: float
    width_pa: float
    sample_rate: float

    @classmethod
    def load(cls, path: Path) -> "Levels":
        """Read a table that `save` wrote."""
        with np.load(path, allow_pickle=False) as table:
            scalars = {name: table[name].item() for name in _SCALARS}
            return cls(**{name: table[name] for name in _ARRAYS}, **scalars)

    def save(self, path: Path) -> None:
        """Write the table as .npz."""
        columns: dict[str, Any] = {name: np.asarray(getattr(self, name)) for name in (*_ARRAYS, *_SCALARS)}
        np.savez_compressed(path, **columns)


_ARRAYS = ("means", "spreads", "dwell")
_SCALARS = ("k", "white_sd", "slow_sd", "slow_rho", "centre_pa", "width_pa", "sample_rate")


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """A read of known sequence: pA [samples], its k-mers [bases], and which samples are whose."""

    picoamps: NDArray[np.float32]
    kmers: NDArray[np.int64]
    alignment: "Alignment"


def fit(reads: Iterable[Aligned], former: Levels) -> Levels:
    """Estimate the levels anew from aligned reads; k-mers seen rarely lean on `former`.

    Visits and samples over OUTLYING robust SDs off are taken for misalignments and spikes and left out.
    """
    # It brings numba, which nobody needs who only simulates: the load generator's image goes without.
    from reads.resquiggle import base_means  # noqa: PLC0415

    size = 4**former.k
    sums, squares, counts = np.zeros(size), np.zeros(size), np.zeros(size)
    dwell = np.zeros(LONGEST_DWELL)
    covariance, pairs = np.zeros(3), 0
    centres, widths = [], []
    for read in reads:
        starts, scale, shift = read.alignment.starts, read.alignment.scale, read.alignment.shift
        seen = (base_means(read.picoamps, starts) - shift) / scale
        good = core(seen - former.means[read.kmers])
        np.add.at(sums, read.kmers[good], seen[good])
        np.add.at(squares, read.kmers[good], seen[good] ** 2)
        np.add.at(counts, read.kmers[good], 1)
        spans = np.diff(starts)
        level = former.means[read.kmers]
        step = np.abs(np.diff(level, prepend=level[0], append=level[-1]))
        distinct = (step[:-1] > DISTINCT) & (step[1:] > DISTINCT)
        dwell += np.bincount(np.minimum(spans[distinct], LONGEST_DWELL) - 1, minlength=LONGEST_DWELL)
        inside = (read.picoamps[starts[0] : starts[-1]] - shift) / scale - np.repeat(seen, spans)
        owner = np.repeat(np.arange(len(spans)), spans)
        position = np.arange(len(owner)) - np.repeat(starts[:-1] - starts[0], spans)
        # The first and the last sample of a visit belong in part to its neighbours, and short visits
        # are where the alignment errs.
        clean = (position >= 1) & (position < spans[owner] - 1) & (spans[owner] >= SETTLED) & good[owner]
        clean &= core(inside)
        for lag in range(3):
            same = clean[lag:] & clean[: len(clean) - lag] & (owner[lag:] == owner[: len(owner) - lag])
            covariance[lag] += np.mean((inside[lag:] * inside[: len(inside) - lag])[same])
        pairs += 1
        centres.append(float(np.median(read.picoamps)))
        widths.append(scale)
    means = (sums + PRIOR_COUNT * former.means) / (counts + PRIOR_COUNT)
    seen_means = sums / np.maximum(counts, 1)
    variances = np.maximum(squares / np.maximum(counts, 1) - seen_means**2, 0)
    typical = float((variances * counts).sum() / counts.sum())
    variances = (counts * variances + PRIOR_COUNT * typical) / (counts + PRIOR_COUNT)
    middle = np.median(means)
    width = np.median(np.abs(means - middle)) * 1.4826
    # The covariance of white + AR(1) noise is slow_sd^2 rho^lag, plus white_sd^2 at lag 0.
    c0, c1, c2 = covariance / max(pairs, 1)
    rho = float(np.clip(c2 / c1, 0.05, 0.95))
    slow = float(np.sqrt(max(c1 / rho, 0.0)))
    white = float(np.sqrt(max(c0 - slow**2, 0.0)))
    # A visit's mean varies by the noise inside it, too: what is left is the visits' own.
    within = np.sum(dwell / dwell.sum() * noise_of_mean(np.arange(1, LONGEST_DWELL + 1), white, slow, rho))
    spreads = np.sqrt(np.maximum(variances - within, 0.1 * variances))
    return Levels(
        k=former.k,
        means=((means - middle) / width).astype(np.float32),
        spreads=(spreads / width).astype(np.float32),
        dwell=dwell / dwell.sum(),
        white_sd=white / width,
        slow_sd=slow / width,
        slow_rho=rho,
        centre_pa=float(np.median(centres)),
        width_pa=float(np.median(widths)) * width,
        sample_rate=former.sample_rate,
    )


def core(residuals: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Return which residuals are within OUTLYING SDs, the SD taken from the median absolute one."""
    sizes = np.abs(residuals)
    return np.asarray(sizes < OUTLYING * 1.4826 * np.median(sizes))


def noise_of_mean(
    samples: NDArray[np.int64], white_sd: float, slow_sd: float, rho: float
) -> NDArray[np.float64]:
    """Return the variance of the mean of that many samples of white plus AR(1) noise."""
    n = samples.astype(np.float64)
    correlated = (1 + rho) / (1 - rho) - 2 * rho * (1 - rho**n) / (n * (1 - rho) ** 2)
    return np.asarray(white_sd**2 / n + slow_sd**2 * correlated / n)
