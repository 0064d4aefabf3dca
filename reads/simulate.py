"""Squiggles with known truth: sequence -> levels -> dwell -> noise -> int16 samples, seeded.

Levels, dwell and noise come from `reads.levels`, estimated from real reads. On top of them each read gets
a stall and an adapter-like lead-in, its own speed, its own scale and offset, and a slow drift.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from reads.kmers import decode, kmers, reverse_complement
from reads.levels import Levels
from reads.read import Calibration, Origin, Read

CHEMISTRIES = ("r9.4.1",)
DIGITISATION, RANGE_PA, OFFSET = 8192.0, 1450.0, 6.0
"""A MinION's converter: samples a full range, full range in pA, and samples at zero current."""
CALIBRATION = Calibration(offset=OFFSET, scale=RANGE_PA / DIGITISATION)
SPEED_SD = 0.1
"""Relative spread of the reads' mean speeds."""
WIDTH_SD, CENTRE_SD_PA = 0.06, 5.0
"""How reads differ in scale (relative) and in offset."""
DRIFT_SD = 0.03
"""Drift along a read: the SD, in level units, of a random walk's end."""
STALL_SAMPLES, LEAD_SAMPLES = 400, 900
"""Mean lengths of the open stall and the adapter before the strand."""
STALL_LEVEL, LEAD_LEVEL = 2.0, -0.6


@dataclass(frozen=True, slots=True)
class Locus:
    """Where a strand lies: `contig` (empty for random sequence), from `start`, on `strand` + or -."""

    contig: str = ""
    start: int = 0
    strand: str = "+"


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedRead:
    """A read and its truth: the sequence, and int64 [bases] the sample at which each base begins.

    The last k - 1 bases have no level of their own and share the last k-mer's end.
    """

    read: Read
    sequence: str
    base_starts: NDArray[np.int64]
    locus: Locus


@cache
def chemistry(name: str = "r9.4.1") -> Levels:
    """Return the shipped levels of a chemistry; ValueError names those there are."""
    if name not in CHEMISTRIES:
        raise ValueError(f"no chemistry {name!r}; there is {', '.join(CHEMISTRIES)}")
    return Levels.load(Path(__file__).parent / f"{name}.npz")


def simulate_reads(
    *,
    seed: int,
    mean_bases: int = 8000,
    contigs: Mapping[str, NDArray[np.uint8]] | None = None,
    levels: Levels | None = None,
) -> Iterator[SimulatedRead]:
    """Yield reads without end, the same ones for the same arguments.

    Strands are drawn from both sides of `contigs` (codes [bases] by name), uniformly, or are random sequence
    where there are none. Lengths follow a gamma distribution of shape 2, at least 50 bases; a contig that is
    shorter is read whole.
    """
    levels = levels or chemistry()
    for number in range(2**63):
        rng = np.random.default_rng((seed, number))
        length = max(50, int(rng.gamma(2.0, mean_bases / 2.0)))
        if contigs is None:
            codes, locus = rng.integers(0, 4, length).astype(np.uint8), Locus()
        else:
            codes, locus = draw_strand(contigs, length, rng)
        yield simulate(codes, rng, levels, number=number, locus=locus)


def draw_strand(
    contigs: Mapping[str, NDArray[np.uint8]], length: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Locus]:
    """Return `length` bases from anywhere on either strand, and where they lie."""
    names = list(contigs)
    sizes = np.array([len(contigs[name]) for name in names], np.float64)
    name = names[int(rng.choice(len(names), p=sizes / sizes.sum()))]
    start = int(rng.integers(0, max(len(contigs[name]) - length, 0) + 1))
    codes = contigs[name][start : start + length]
    if rng.random() < 0.5:
        return reverse_complement(codes), Locus(name, start, "-")
    return codes, Locus(name, start, "+")


def simulate(
    codes: NDArray[np.uint8],
    rng: np.random.Generator,
    levels: Levels,
    *,
    number: int = 0,
    locus: Locus = Locus(),
) -> SimulatedRead:
    """Return one read of the strand `codes` [bases], in the direction it passes the pore."""
    numbers = kmers(codes, levels.k)
    visits, spans = strand_levels(numbers, rng, levels, speed=float(np.exp(rng.normal(0, SPEED_SD))))
    stall = np.full(int(rng.gamma(2, STALL_SAMPLES / 2)), STALL_LEVEL)
    lead = LEAD_LEVEL + 0.5 * np.repeat(
        rng.normal(0, 1, LEAD_SAMPLES // 30), rng.poisson(30, LEAD_SAMPLES // 30)
    )
    before = len(stall) + len(lead)
    ideal = np.concatenate([stall, lead, np.repeat(visits, spans)])
    current = ideal + noise(len(ideal), rng, levels) + drift(len(ideal), rng)
    width = levels.width_pa * np.exp(rng.normal(0, WIDTH_SD))
    picoamps = levels.centre_pa + rng.normal(0, CENTRE_SD_PA) + width * current
    samples = np.clip(np.round(picoamps / CALIBRATION.scale - CALIBRATION.offset), -32768, 32767)
    starts = before + np.concatenate([[0], np.cumsum(spans)])
    base_starts = np.concatenate([starts[:-1], np.full(levels.k - 1, starts[-1])]).astype(np.int64)
    read = Read(
        read_id=str(UUID(bytes=rng.bytes(16), version=4)),
        signal=samples.astype(np.int16),
        calibration=CALIBRATION,
        sample_rate=levels.sample_rate,
        origin=Origin(channel=1 + number % 512, mux=1, read_number=number, run_id="simulated"),
    )
    return SimulatedRead(read, decode(codes), base_starts, locus)


def strand_levels(
    numbers: NDArray[np.int64], rng: np.random.Generator, levels: Levels, *, speed: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the level of each visit to a k-mer and its dwell in samples, both [k-mers]."""
    visits = levels.means[numbers] + levels.spreads[numbers] * rng.standard_normal(len(numbers))
    quantiles = np.searchsorted(np.cumsum(levels.dwell), rng.random(len(numbers)))
    spans = np.clip(np.round((quantiles + rng.uniform(0.5, 1.5, len(numbers))) / speed), 1, None)
    return visits.astype(np.float64), spans.astype(np.int64)


def noise(samples: int, rng: np.random.Generator, levels: Levels) -> NDArray[np.float64]:
    """Return white plus first-order autoregressive noise in level units [samples]."""
    innovations = rng.normal(0, levels.slow_sd * np.sqrt(1 - levels.slow_rho**2), samples)
    slow = lfilter([1.0], [1.0, -levels.slow_rho], innovations)
    return np.asarray(slow + rng.normal(0, levels.white_sd, samples), np.float64)


def drift(samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a random walk that ends DRIFT_SD from its start, in level units [samples]."""
    steps = np.cumsum(rng.standard_normal(samples // 256 + 2))
    walk = np.interp(np.arange(samples) / 256, np.arange(len(steps)), steps)
    return np.asarray(walk * (DRIFT_SD / np.sqrt(len(steps))))
