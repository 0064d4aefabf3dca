"""Which bases a real read really has: its call, mapped to a reference, and the reference laid on its signal.

The self-training loop's first half: call -> map -> cut the reference -> resquiggle.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from models.basecall import Basecall
from models.basecaller import call, normalise
from models.caller import Caller
from models.examples import AlignedRead
from models.mapping import GAP, Mapping, Reference
from reads.estimate import Aligned
from reads.kmers import kmers
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
    """A read, the reference's bases under its mapped part, and their alignment to `signal_start` onwards."""

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
) -> Iterator[TrueRead]:
    """Yield the reads whose truth can be told; the others are left out."""
    for read, basecall in call(caller, reads):
        mapping = reference.map(basecall.sequence)
        if mapping and believable(mapping, basecall):
            found = lay(read, basecall, mapping, levels)
            if found:
                yield found


def believable(mapping: Mapping, basecall: Basecall) -> bool:
    """Return whether a mapping is good enough for its reference to be the truth."""
    span = mapping.query_end - mapping.query_start
    return (
        mapping.identity >= LEAST_IDENTITY
        and span >= LEAST_BASES
        and span >= LEAST_COVERAGE * len(basecall.sequence)
    )


def lay(read: Read, basecall: Basecall, mapping: Mapping, levels: Levels) -> TrueRead | None:
    """Lay the mapped reference on the read's signal, or return None where it does not fit."""
    steps = np.flatnonzero(basecall.moves)
    begin = max(0, int(steps[mapping.query_start]) * basecall.stride - MARGIN_SAMPLES)
    end = int(steps[mapping.query_end - 1]) * basecall.stride + MARGIN_SAMPLES
    signal = normalise(read.signal)[begin:end]
    codes = mapping.reference[mapping.reference != GAP]
    means = levels.means[kmers(codes, levels.k)]
    found = resquiggle(signal, means, np.full(len(means), ALIGNMENT_SD, np.float32))
    if found is None or found.score < LEAST_SCORE:
        return None
    return TrueRead(read, AlignedRead(signal, codes, found.starts), found, begin)
