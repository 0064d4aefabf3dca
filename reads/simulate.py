"""Squiggles with known truth: sequence -> levels -> dwell -> transitions -> noise -> int16 samples, seeded.

Levels, dwell and noise come from `reads.levels`, estimated from real reads, as were the constants below
unless they say otherwise. On top of them each read gets a stall and an adapter-like lead-in, its own speed,
which wanders, its own noise, scale and offset, and a slow drift. A read depends on the seed and its number
alone, so that any process may make it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from reads.kmers import decode, kmers, reverse_complement
from reads.levels import Levels, chemistry
from reads.read import Calibration, Origin, Read
from reads.strands import Strands

DIGITISATION, RANGE_PA, OFFSET = 8192.0, 1450.0, 6.0
"""A MinION's converter: samples a full range, full range in pA, and samples at zero current."""
CALIBRATION = Calibration(offset=OFFSET, scale=RANGE_PA / DIGITISATION)
WIDTH_SD, CENTRE_SD_PA = 0.06, 5.0
"""How reads differ in scale (relative) and in offset."""
TRANSITION_SAMPLES = 1.0
"""A sample is the mean current of so long a time up to its end. With 1.0, aligned simulated reads show what
aligned real ones do: the first sample after a step has done 0.855 of it in the mean."""
SPEED_BASES = 150
"""How far along a strand its speed remembers itself."""
STALL_SAMPLES, LEAD_SAMPLES = 400, 900
"""Mean lengths of the open stall and the adapter before the strand; assumed."""
STALL_LEVEL, LEAD_LEVEL = 2.0, -0.6
SHORTEST_BASES = 50
MOST_BLOCK, LEAST_POWER = 256, 1e-100
"""Values of an autoregressive sequence that are made at once, and the smallest number by which one of them is
divided."""


@dataclass(frozen=True, slots=True)
class Pore:
    """How reads depart from their chemistry's table. `speed_sd` is the spread of the reads' mean speeds,
    `wander_sd` that of the speed within a read, both of its logarithm; `noise` multiplies all noise, by a
    factor whose logarithm spreads by `noise_sd` between reads; `drift_sd` is the SD of a random walk's end,
    in level units. A strand stalls once in `stall_bases` (assumed), for 300 samples in the mean."""

    speed_sd: float = 0.1
    wander_sd: float = 0.055
    noise: float = 1.0
    noise_sd: float = 0.11
    drift_sd: float = 0.03
    stall_bases: float = 30_000.0


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


@dataclass(frozen=True, slots=True, eq=False)
class Simulation:
    """What to simulate. Strands are drawn from `contigs` (codes [bases] by name), uniformly, or are random
    sequence where there are none. Lengths follow a gamma distribution of that mean and SD, at least
    SHORTEST_BASES; a contig that is shorter is read whole."""

    seed: int
    levels: Levels
    contigs: Mapping[str, NDArray[np.uint8]] | None = None
    mean_bases: float = 8000.0
    sd_bases: float | None = None
    """The mean over the square root of 2 where it is None, which is a gamma distribution of shape 2."""
    strands: Strands = Strands.BOTH
    pore: Pore = Pore()


def simulate_reads(
    *, seed: int, mean_bases: int = 8000, contigs: Mapping[str, NDArray[np.uint8]] | None = None
) -> Iterator[SimulatedRead]:
    """Yield reads of the default chemistry without end, the same ones for the same arguments."""
    simulation = Simulation(seed, chemistry(), contigs, mean_bases)
    for number in range(2**63):
        yield simulated_read(simulation, number)


def simulated_read(simulation: Simulation, number: int) -> SimulatedRead:
    """Return one read of a simulation, by its number."""
    rng = np.random.default_rng((simulation.seed, number))
    length = draw_length(simulation, rng)
    if simulation.contigs is None:
        codes, locus = rng.integers(0, 4, length).astype(np.uint8), Locus()
    else:
        codes, locus = draw_strand(simulation.contigs, length, simulation.strands, rng)
    return simulate(codes, rng, simulation.levels, pore=simulation.pore, number=number, locus=locus)


def draw_length(simulation: Simulation, rng: np.random.Generator) -> int:
    """Return the length of a strand, in bases."""
    mean, sd = simulation.mean_bases, simulation.sd_bases
    if sd == 0:
        return max(SHORTEST_BASES, round(mean))
    shape = 2.0 if sd is None else (mean / sd) ** 2
    return max(SHORTEST_BASES, int(rng.gamma(shape, mean / shape)))


def draw_strand(
    contigs: Mapping[str, NDArray[np.uint8]], length: int, strands: Strands, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Locus]:
    """Return `length` bases from anywhere on a contig, and where they lie."""
    names = list(contigs)
    sizes = np.array([len(contigs[name]) for name in names], np.float64)
    name = names[int(rng.choice(len(names), p=sizes / sizes.sum()))]
    start = int(rng.integers(0, max(len(contigs[name]) - length, 0) + 1))
    codes = contigs[name][start : start + length]
    turned = rng.random() < 0.5 if strands is Strands.BOTH else strands is Strands.REVERSE
    if turned:
        return reverse_complement(codes), Locus(name, start, "-")
    return codes, Locus(name, start, "+")


def simulate(
    codes: NDArray[np.uint8],
    rng: np.random.Generator,
    levels: Levels,
    *,
    pore: Pore = Pore(),
    number: int = 0,
    locus: Locus = Locus(),
) -> SimulatedRead:
    """Return one read of the strand `codes` [bases], in the direction it passes the pore."""
    visits, spans = strand_levels(kmers(codes, levels.k), rng, levels, pore)
    pieces = LEAD_SAMPLES // 30
    lead = LEAD_LEVEL + 0.5 * rng.normal(0, 1, pieces)
    heights = np.concatenate([[STALL_LEVEL], lead, visits])
    times = np.concatenate([[rng.gamma(2, STALL_SAMPLES / 2)], rng.poisson(30, pieces), spans])
    ideal, begins = play(heights, times)
    factor = pore.noise * np.exp(rng.normal(0, pore.noise_sd))
    current = ideal + factor * noise(len(ideal), rng, levels) + drift(len(ideal), rng, pore.drift_sd)
    width = levels.width_pa * np.exp(rng.normal(0, WIDTH_SD))
    picoamps = levels.centre_pa + rng.normal(0, CENTRE_SD_PA) + width * current
    samples = np.clip(np.round(picoamps / CALIBRATION.scale - CALIBRATION.offset), -32768, 32767)
    starts = begins[1 + pieces :]
    base_starts = np.concatenate([starts[:-1], np.full(levels.k - 1, starts[-1])])
    read = Read(
        read_id=str(UUID(bytes=rng.bytes(16), version=4)),
        signal=samples.astype(np.int16),
        calibration=CALIBRATION,
        sample_rate=levels.sample_rate,
        origin=Origin(channel=1 + number % 512, mux=1, read_number=number, run_id="simulated"),
    )
    return SimulatedRead(read, decode(codes), base_starts, locus)


def strand_levels(
    numbers: NDArray[np.int64], rng: np.random.Generator, levels: Levels, pore: Pore
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the level of each visit to a k-mer and its dwell, in samples and parts of them, [k-mers]."""
    count = len(numbers)
    visits = levels.means[numbers] + levels.spreads[numbers] * rng.standard_normal(count)
    quantiles = np.searchsorted(np.cumsum(levels.dwell), rng.random(count))
    log_speed = rng.normal(0, pore.speed_sd) + wander(count, rng, pore.wander_sd, np.exp(-1 / SPEED_BASES))
    spans = np.maximum((quantiles + rng.uniform(0.5, 1.5, count)) / np.exp(log_speed), 1.0)
    stalled = rng.random(count) < 1 / pore.stall_bases
    spans[stalled] += rng.gamma(2, 150, int(stalled.sum()))
    return visits.astype(np.float64), spans


def play(
    heights: NDArray[np.float64], times: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the current [samples] of levels held for `times` in samples, and the sample at which each
    begins, int64 [levels + 1].

    A sample takes the mean over TRANSITION_SAMPLES, and so in part the level before.
    """
    edges = np.concatenate([[0.0], np.cumsum(times)])
    charge = np.concatenate([[0.0], np.cumsum(heights * times)])
    ends = np.arange(1.0, np.floor(edges[-1]) + 1)
    begins = np.maximum(ends - TRANSITION_SAMPLES, 0.0)
    current = (np.interp(ends, edges, charge) - np.interp(begins, edges, charge)) / (ends - begins)
    starts = np.minimum(np.floor(edges + 0.5), len(ends))
    return current, starts.astype(np.int64)


def noise(samples: int, rng: np.random.Generator, levels: Levels) -> NDArray[np.float64]:
    """Return white plus first-order autoregressive noise in level units [samples]."""
    slow = wander(samples, rng, levels.slow_sd, levels.slow_rho)
    return slow + rng.normal(0, levels.white_sd, samples)


def wander(count: int, rng: np.random.Generator, sd: float, rho: float) -> NDArray[np.float64]:
    """Return a first-order autoregressive sequence of that SD and correlation of neighbours [count]."""
    innovations = rng.normal(0, sd * np.sqrt(1 - rho**2), count)
    innovations[:1] /= np.sqrt(1 - rho**2)  # it begins as it goes on
    return autoregressive(innovations, rho)


def autoregressive(innovations: NDArray[np.float64], rho: float) -> NDArray[np.float64]:
    """Return the sequence whose values are their innovation and `rho`, 0 <= rho < 1, times the one before.

    Within a block, a value is a sum of innovations over powers of `rho`, none of which may vanish; from block
    to block, the last value is carried on. SciPy's filter is no faster, takes a second to import, and would
    be a third of what a load generator has to install.
    """
    block = min(MOST_BLOCK, max(1, int(np.log(LEAST_POWER) / np.log(max(rho, LEAST_POWER**2)))))
    powers = rho ** np.arange(block)
    blocks = np.zeros((-(-len(innovations) // block), block))
    blocks.flat[: len(innovations)] = innovations
    values: NDArray[np.float64] = np.cumsum(blocks / powers, axis=1) * powers
    before, carried = 0.0, np.empty((len(blocks), 1))
    for number, last in enumerate(values[:, -1].tolist()):
        carried[number] = before
        before = last + rho**block * before
    values += carried * (rho * powers)
    return values.reshape(-1)[: len(innovations)]


def drift(samples: int, rng: np.random.Generator, sd: float) -> NDArray[np.float64]:
    """Return a random walk that ends `sd` from its start, in level units [samples]."""
    steps = np.cumsum(rng.standard_normal(samples // 256 + 2))
    walk = np.interp(np.arange(samples) / 256, np.arange(len(steps)), steps)
    return np.asarray(walk * (sd / np.sqrt(len(steps))))
