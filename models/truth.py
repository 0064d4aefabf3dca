"""Which bases a real read really has, laid on its signal: from a reference, or from a teacher.

The self-training loop's first half: call -> map -> cut the reference -> resquiggle. Where there is no
reference, a call that is sure enough stands for the truth.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.basecall import Basecall
from models.basecaller import call
from models.called import Called
from models.caller import Caller
from models.examples import AlignedRead
from models.mapping import GAP, Reference
from models.mapping import Mapping as ReferenceMapping
from models.scaling import normalise
from reads.cores import usable_cores
from reads.estimate import Aligned
from reads.kmers import codes_of, kmers
from reads.levels import Levels
from reads.read import Read
from reads.resquiggle import Alignment, resquiggle

LEAST_IDENTITY, LEAST_COVERAGE, LEAST_BASES = 0.75, 0.85, 500
"""What a mapping must have for its reference to be taken for the truth."""
MARGIN_SAMPLES = 50
"""Samples on both sides of the mapped part that the alignment may use or leave."""
LEAST_SCORE = 0.0
"""Mean log-likelihood of a sample under which an alignment is not believed."""
ALIGNMENT_SD = 0.25
"""SD of samples around their level, in level units, while aligning."""


@dataclass(frozen=True, slots=True, eq=False)
class TrueRead:
    """A read, the bases that passed during a part of it, and their alignment to `signal_start` onwards."""

    read: Read
    aligned: AlignedRead
    alignment: Alignment
    signal_start: int

    def for_levels(self, levels: Levels) -> Aligned:
        """Return it as `reads.estimate.fit` takes it, in pA."""
        read = self.read
        picoamps = read.calibration.picoamps(read.signal[self.signal_start :])
        starts = self.alignment.starts
        # The alignment's scaling is of normalised signal; in pA it is refitted by the levels themselves.
        means = levels.means[kmers(self.aligned.codes, levels.k)]
        seen = np.add.reduceat(picoamps[: starts[-1]].astype(np.float64), starts[:-1]) / np.diff(starts)
        scale, shift = np.polyfit(means, seen, 1)
        alignment = Alignment(starts, self.alignment.score, float(shift), float(scale))
        return Aligned(picoamps, kmers(self.aligned.codes, levels.k), alignment)


def true_reads(
    caller: Caller, reads: Iterable[Read], reference: Reference, levels: Levels
) -> Iterator[TrueRead | None]:
    """Yield, for each read in turn, what the reference says of it, or None where that cannot be told."""

    def claims() -> Iterator[Claim | None]:
        for read, basecall in call(caller, reads):
            mapping = reference.map(basecall.sequence)
            if mapping and believable(mapping, basecall):
                codes = mapping.reference[mapping.reference != GAP]
                yield Claim(read, codes, *_samples(read, basecall, mapping.query_start, mapping.query_end))
            else:
                yield None

    return _laid(claims(), levels)


def taught_reads(
    reads: Iterable[Read], calls: Mapping[str, Called], levels: Levels
) -> Iterator[TrueRead | None]:
    """Yield, for each read in turn, what a teacher's call says of it, or None where none fits."""

    def claims() -> Iterator[Claim | None]:
        for read in reads:
            called = calls.get(read.read_id)
            yield Claim(read, codes_of(called.sequence), 0, len(read.signal)) if called else None

    return _laid(claims(), levels)


def self_taught_reads(
    caller: Caller, reads: Iterable[Read], levels: Levels, least_quality: float
) -> Iterator[TrueRead | None]:
    """Yield, for each read in turn, what its own call says, or None where the call is not so sure."""

    def claims() -> Iterator[Claim | None]:
        for read, basecall in call(caller, reads):
            sequence = basecall.sequence
            if sequence and basecall.mean_q >= least_quality:
                yield Claim(read, codes_of(sequence), *_samples(read, basecall, 0, len(sequence)))
            else:
                yield None

    return _laid(claims(), levels)


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """That these bases passed during samples `begin` to `end` of a read."""

    read: Read
    codes: NDArray[np.uint8]
    begin: int
    end: int


def _laid(claims: Iterable[Claim | None], levels: Levels) -> Iterator[TrueRead | None]:
    """Yield what comes of each claim, in order; a thread a core lays them, and few wait."""
    cores = usable_cores()
    with ThreadPoolExecutor(cores) as pool:
        ahead: deque[Future[TrueRead | None]] = deque()
        for claim in claims:
            ahead.append(pool.submit(lay, claim, levels))
            if len(ahead) > 2 * cores:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def believable(mapping: ReferenceMapping, basecall: Basecall) -> bool:
    """Return whether a mapping is good enough for its reference to be the truth."""
    span = mapping.query_end - mapping.query_start
    return (
        mapping.identity >= LEAST_IDENTITY
        and span >= LEAST_BASES
        and span >= LEAST_COVERAGE * len(basecall.sequence)
    )


def _samples(read: Read, basecall: Basecall, first: int, end: int) -> tuple[int, int]:
    """Return the samples during which bases `first` to `end` of a call passed, with a margin."""
    uncalled = len(read.signal) - basecall.samples  # cut from the start
    steps = uncalled + np.flatnonzero(basecall.moves)[first:end] * basecall.stride
    return max(0, int(steps[0]) - MARGIN_SAMPLES), int(steps[-1]) + MARGIN_SAMPLES


def lay(claim: Claim | None, levels: Levels) -> TrueRead | None:
    """Lay bases on the signal, or return None where they do not fit, or nothing is claimed.

    Letters that are no bases have no level, and fit nowhere.
    """
    if claim is None:
        return None
    codes = claim.codes
    if len(codes) < LEAST_BASES or (codes >= GAP).any():
        return None
    signal = normalise(claim.read.signal)[claim.begin : claim.end]
    means = levels.means[kmers(codes, levels.k)]
    found = resquiggle(signal, means, np.full(len(means), ALIGNMENT_SD, np.float32))
    if found is None or found.score < LEAST_SCORE:
        return None
    return TrueRead(claim.read, AlignedRead(signal, codes, found.starts), found, claim.begin)
