"""How good calls are, from their mappings. Pure.

Identity is matches over alignment columns (BLAST identity). A quality is tested base by base: a called base
that is mismatched or inserted is an error. Homopolymers are those of the reference.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from models.basecall import Basecall
from models.mapping import GAP, Mapping

LONGEST_HOMOPOLYMER = 9
"""Longer ones are counted with these."""
MOST_Q = 50


@dataclass(frozen=True, slots=True)
class ReadAccuracy:
    """One read. `columns` is of its alignment, 0 where it maps nowhere; `coverage` the share of the call in
    it."""

    read_id: str
    bases: int
    columns: int
    matches: int
    mismatches: int
    insertions: int
    deletions: int
    coverage: float
    mean_q: float

    @property
    def identity(self) -> float:
        """Matches over columns."""
        return self.matches / self.columns if self.columns else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Counts over reads: `by_q` int64 [MOST_Q + 1, 2] bases and errors by reported quality; `by_homopolymer`
    int64 [LONGEST_HOMOPOLYMER + 1, 2] runs and wrongly called ones by their length in the reference."""

    by_q: NDArray[np.int64]
    by_homopolymer: NDArray[np.int64]

    @classmethod
    def empty(cls) -> "Tally":
        """Return one of no reads."""
        return cls(np.zeros((MOST_Q + 1, 2), np.int64), np.zeros((LONGEST_HOMOPOLYMER + 1, 2), np.int64))

    def add(self, call: Basecall, mapping: Mapping) -> None:
        """Count a read."""
        called = mapping.called != GAP
        phred = np.frombuffer(call.qstring.encode(), np.uint8)[mapping.query[called]] - 33
        wrong = (mapping.called != mapping.reference)[called]
        phred = np.minimum(phred, MOST_Q)
        self.by_q[:, 0] += np.bincount(phred, minlength=MOST_Q + 1)
        self.by_q[:, 1] += np.bincount(phred, weights=wrong, minlength=MOST_Q + 1).astype(np.int64)
        for length, right in homopolymers(mapping):
            self.by_homopolymer[min(length, LONGEST_HOMOPOLYMER)] += (1, not right)


def accuracy(read_id: str, call: Basecall, mapping: Mapping | None) -> ReadAccuracy:
    """Return how good one call is."""
    if mapping is None:
        return ReadAccuracy(read_id, len(call.sequence), 0, 0, 0, 0, 0, 0.0, call.mean_q)
    inserted, deleted = mapping.reference == GAP, mapping.called == GAP
    matched = mapping.reference == mapping.called
    return ReadAccuracy(
        read_id=read_id,
        bases=len(call.sequence),
        columns=len(matched),
        matches=int(matched.sum()),
        mismatches=int((~matched & ~inserted & ~deleted).sum()),
        insertions=int(inserted.sum()),
        deletions=int(deleted.sum()),
        coverage=(mapping.query_end - mapping.query_start) / max(len(call.sequence), 1),
        mean_q=call.mean_q,
    )


def homopolymers(mapping: Mapping) -> list[tuple[int, bool]]:
    """Return length and whether it was called right of each run of two or more equal reference bases that
    other bases enclose."""
    kept = np.flatnonzero(mapping.reference != GAP)
    bases = mapping.reference[kept]
    edges = np.flatnonzero(np.diff(bases)) + 1
    runs: list[tuple[int, bool]] = []
    for begin, end in pairwise(edges.tolist()):
        if end - begin > 1:
            # Up to the next reference base, so that insertions after the run count.
            columns = slice(kept[begin], kept[end])
            spelled = mapping.called[columns]
            spelled = spelled[spelled != GAP]
            runs.append(
                (int(end - begin), len(spelled) == end - begin and bool((spelled == bases[begin]).all()))
            )
    return runs


@dataclass(frozen=True, slots=True)
class Summary:
    """All reads: medians and means are over mapped reads, rates over all their columns."""

    reads: int
    mapped: int
    unmapped_share: float
    identity_median: float
    identity_mean: float
    mismatch_rate: float
    insertion_rate: float
    deletion_rate: float
    coverage_median: float
    bases: int


def summarise(reads: Sequence[ReadAccuracy]) -> Summary:
    """Return the summary of reads; rates are nan where nothing mapped."""
    mapped = [read for read in reads if read.columns]
    columns = sum(read.columns for read in mapped)

    def rate(name: str) -> float:
        return sum(getattr(read, name) for read in mapped) / columns if columns else float("nan")

    identities = [read.identity for read in mapped] or [float("nan")]
    return Summary(
        reads=len(reads),
        mapped=len(mapped),
        unmapped_share=1 - len(mapped) / len(reads) if reads else float("nan"),
        identity_median=float(np.median(identities)),
        identity_mean=float(np.mean(identities)),
        mismatch_rate=rate("mismatches"),
        insertion_rate=rate("insertions"),
        deletion_rate=rate("deletions"),
        coverage_median=float(np.median([read.coverage for read in mapped] or [float("nan")])),
        bases=sum(read.bases for read in reads),
    )


def calibration(tally: Tally, *, least: int = 200) -> list[tuple[int, int, float]]:
    """Return (reported quality, bases, empirical quality) of each quality that `least` bases have."""
    return [
        (q, int(bases), float(-10 * np.log10(max(int(errors), 0.5) / bases)))
        for q, (bases, errors) in enumerate(tally.by_q)
        if bases >= least
    ]
