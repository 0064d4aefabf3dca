"""Two callers on the same reads: the difference of their identities, read by read. Pure.

A read is its own control, so that how hard reads are drops out. Differences are the second caller's identity
less the first's, over the reads that both mapped; reads that one alone mapped are counted beside.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, ttest_1samp, wilcoxon

from models.accuracy import CONFIDENCE, ReadAccuracy

FEWEST_READS = 6
"""With fewer pairs no two-sided Wilcoxon test can reach 5 %."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """`low` and `high` are the 95 % interval (Student's t) of the mean difference; `wilcoxon_p` is that of
    the signed-rank test, and `mapped_p` McNemar's exact one on the reads that one alone mapped. None where
    there are too few reads to tell."""

    first: str
    second: str
    reads: int
    only_first_mapped: int
    only_second_mapped: int
    mean_difference: float | None
    low: float | None
    high: float | None
    median_difference: float | None
    wilcoxon_p: float | None
    mapped_p: float | None

    @property
    def words(self) -> str:
        """What the comparison comes to, in points of identity."""
        if self.mean_difference is None or self.low is None or self.high is None:
            return f"not resolved: {self.reads} reads that both mapped are too few"
        mean, low, high = (100 * value for value in (self.mean_difference, self.low, self.high))
        interval = f"[{low:+.2f}, {high:+.2f}] over {self.reads} reads"
        if self.low > 0 or self.high < 0:
            better, worse = (self.second, self.first) if mean > 0 else (self.first, self.second)
            return f"{better} is better than {worse}: {self.second} differs by {mean:+.2f} points {interval}"
        return f"not resolved: {self.second} differs from {self.first} by {mean:+.2f} points {interval}"


def compare(
    first: str, firsts: Sequence[ReadAccuracy], second: str, seconds: Sequence[ReadAccuracy]
) -> Comparison:
    """Return how `second` compares with `first`; reads are paired by their ids."""
    before = {read.read_id: read.identity for read in firsts}
    after = {read.read_id: read.identity for read in seconds}
    shared = [(before[read_id], after[read_id]) for read_id in before if read_id in after]
    pairs = [(a, b) for a, b in shared if a is not None and b is not None]
    only_first = sum(a is not None and b is None for a, b in shared)
    only_second = sum(a is None and b is not None for a, b in shared)
    differences = np.array([b - a for a, b in pairs])
    enough = len(differences) >= FEWEST_READS
    low = high = p = None
    if enough and differences.std() > 0:
        interval = ttest_1samp(differences, 0.0).confidence_interval(CONFIDENCE)
        low, high = float(interval.low), float(interval.high)
        p = float(wilcoxon(differences).pvalue)
    elif enough:
        low = high = float(differences[0])
        p = 1.0 if low == 0 else float(wilcoxon(differences).pvalue)
    alone = only_first + only_second
    return Comparison(
        first=first,
        second=second,
        reads=len(pairs),
        only_first_mapped=only_first,
        only_second_mapped=only_second,
        mean_difference=float(differences.mean()) if pairs else None,
        low=low,
        high=high,
        median_difference=float(np.median(differences)) if pairs else None,
        wilcoxon_p=p,
        mapped_p=float(binomtest(only_second, alone).pvalue) if alone else None,
    )
