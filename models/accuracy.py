"""How good calls are, from their mappings. Pure.

Identity is matches over alignment columns (BLAST identity). A quality is tested base by base: a called base
that is mismatched or inserted is an error. Homopolymers are those of the reference.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from models.called import Called
from models.mapping import GAP, Mapping

LONGEST_HOMOPOLYMER = 9
"""Longer ones are counted with these."""
MOST_Q = 93
"""The highest quality that a qstring can say."""
FEWEST_BASES = 200
"""Bases that a reported quality needs for its empirical one to be told."""
JUDGED_Q = (5, 20)
"""The reported qualities, both included, that `worst_gap` judges."""
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class ReadAccuracy:
    """One read. `columns` is of its alignment, 0 where it maps nowhere; `aligned` the bases of the call in
    it. `called` is False where the caller gave no call at all; `mean_q` None where it gave no qualities."""

    read_id: str
    called: bool = False
    bases: int = 0
    columns: int = 0
    matches: int = 0
    mismatches: int = 0
    insertions: int = 0
    deletions: int = 0
    aligned: int = 0
    mean_q: float | None = None

    @property
    def identity(self) -> float | None:
        """Matches over columns; None where the read maps nowhere."""
        return self.matches / self.columns if self.columns else None

    @property
    def coverage(self) -> float:
        """The share of the call that is in the alignment."""
        return self.aligned / self.bases if self.bases else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Counts over reads: `by_q` int64 [MOST_Q + 1, 2] bases and errors by reported quality; `by_homopolymer`
    int64 [LONGEST_HOMOPOLYMER + 1, 3] runs, wrongly called ones, and bases called, by their length in the
    reference."""

    by_q: NDArray[np.int64]
    by_homopolymer: NDArray[np.int64]

    @classmethod
    def empty(cls) -> "Tally":
        """Return one of no reads."""
        return cls(np.zeros((MOST_Q + 1, 2), np.int64), np.zeros((LONGEST_HOMOPOLYMER + 1, 3), np.int64))

    def add(self, call: Called, mapping: Mapping) -> None:
        """Count a read."""
        called = mapping.called != GAP
        if call.qstring:
            phred = np.frombuffer(call.qstring.encode(), np.uint8)[mapping.query[called]] - 33
            wrong = (mapping.called != mapping.reference)[called]
            phred = np.minimum(phred, MOST_Q)
            self.by_q[:, 0] += np.bincount(phred, minlength=MOST_Q + 1)
            self.by_q[:, 1] += np.bincount(phred, weights=wrong, minlength=MOST_Q + 1).astype(np.int64)
        for run in homopolymers(mapping):
            self.by_homopolymer[min(run.length, LONGEST_HOMOPOLYMER)] += (1, not run.right, run.called)


def accuracy(call: Called, mapping: Mapping | None) -> ReadAccuracy:
    """Return how good one call is."""
    if mapping is None:
        return ReadAccuracy(call.read_id, called=True, bases=len(call.sequence), mean_q=call.mean_q)
    inserted, deleted = mapping.reference == GAP, mapping.called == GAP
    matched = mapping.reference == mapping.called
    return ReadAccuracy(
        read_id=call.read_id,
        called=True,
        bases=len(call.sequence),
        columns=len(matched),
        matches=int(matched.sum()),
        mismatches=int((~matched & ~inserted & ~deleted).sum()),
        insertions=int(inserted.sum()),
        deletions=int(deleted.sum()),
        aligned=mapping.query_end - mapping.query_start,
        mean_q=call.mean_q,
    )


@dataclass(frozen=True, slots=True)
class Homopolymer:
    """A run of one base in the reference: its length, the bases called for it, and whether they are right."""

    length: int
    called: int
    right: bool


def homopolymers(mapping: Mapping) -> list[Homopolymer]:
    """Return each run of two or more equal reference bases that other bases enclose."""
    kept = np.flatnonzero(mapping.reference != GAP)
    bases = mapping.reference[kept]
    edges = np.flatnonzero(np.diff(bases)) + 1
    runs: list[Homopolymer] = []
    for begin, end in pairwise(edges.tolist()):
        if end - begin > 1 and bases[begin] < GAP:
            # Up to the next reference base, so that insertions after the run count.
            columns = slice(kept[begin], kept[end])
            spelled = mapping.called[columns]
            spelled = spelled[spelled != GAP]
            right = len(spelled) == end - begin and bool((spelled == bases[begin]).all())
            runs.append(Homopolymer(int(end - begin), len(spelled), right))
    return runs


@dataclass(frozen=True, slots=True)
class Summary:
    """All reads: medians, means and rates are over mapped reads; `identity_overall` and the rates are shares
    of all their columns together, `coverage_overall` of all their called bases. None where nothing mapped."""

    reads: int
    uncalled: int
    mapped: int
    unmapped_share: float | None
    identity_median: float | None
    identity_mean: float | None
    identity_overall: float | None
    mismatch_rate: float | None
    insertion_rate: float | None
    deletion_rate: float | None
    coverage_median: float | None
    coverage_overall: float | None
    bases: int


def summarise(reads: Sequence[ReadAccuracy]) -> Summary:
    """Return the summary of reads."""
    mapped = [read for read in reads if read.columns]
    columns = sum(read.columns for read in mapped)

    def rate(counts: Sequence[int], total: int) -> float | None:
        return sum(counts) / total if total else None

    identities = [read.matches / read.columns for read in mapped]
    return Summary(
        reads=len(reads),
        uncalled=sum(not read.called for read in reads),
        mapped=len(mapped),
        unmapped_share=1 - len(mapped) / len(reads) if reads else None,
        identity_median=float(np.median(identities)) if mapped else None,
        identity_mean=float(np.mean(identities)) if mapped else None,
        identity_overall=rate([read.matches for read in mapped], columns),
        mismatch_rate=rate([read.mismatches for read in mapped], columns),
        insertion_rate=rate([read.insertions for read in mapped], columns),
        deletion_rate=rate([read.deletions for read in mapped], columns),
        coverage_median=float(np.median([read.coverage for read in mapped])) if mapped else None,
        coverage_overall=rate([read.aligned for read in mapped], sum(read.bases for read in mapped)),
        bases=sum(read.bases for read in reads),
    )


@dataclass(frozen=True, slots=True)
class Calibration:
    """A reported quality, and the empirical one of the bases that it was reported for, with its interval."""

    reported: int
    bases: int
    empirical: float
    low: float
    high: float


def calibration(tally: Tally, *, least: int = FEWEST_BASES) -> list[Calibration]:
    """Return each reported quality that `least` bases have, with a 95 % Wilson interval.

    Half an error stands for none: no finite number of bases shows that there are no errors.
    """
    from scipy.stats import binomtest  # noqa: PLC0415 - a second that only evaluations need

    found = []
    for reported, (bases, errors) in enumerate(tally.by_q.tolist()):
        if bases >= max(least, 1):
            interval = binomtest(errors, bases).proportion_ci(CONFIDENCE, method="wilson")
            found.append(
                Calibration(
                    reported=reported,
                    bases=bases,
                    empirical=_phred(max(errors, 0.5) / bases),
                    low=_phred(interval.high),
                    high=_phred(interval.low) if errors else float(MOST_Q),
                )
            )
    return found


def worst_gap(qualities: Sequence[Calibration]) -> float | None:
    """Return the empirical less the reported quality where they differ most within JUDGED_Q."""
    lowest, highest = JUDGED_Q
    gaps = [q.empirical - q.reported for q in qualities if lowest <= q.reported <= highest]
    return max(gaps, key=abs, default=None)


def _phred(share: float) -> float:
    return -10.0 * math.log10(share)
