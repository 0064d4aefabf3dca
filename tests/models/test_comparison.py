"""Two callers are compared read by read, and nothing is claimed that the reads do not show."""

import numpy as np
import pytest
from scipy import stats

from models.accuracy import ReadAccuracy
from models.comparison import compare


def reads(identities: list[float | None]) -> list[ReadAccuracy]:
    return [
        ReadAccuracy(f"r{n}", True, 1000, *((0, 0) if i is None else (1000, round(1000 * i))))
        for n, i in enumerate(identities)
    ]


RNG = np.random.default_rng(5)
HARD = RNG.normal(0.85, 0.05, 30).round(3).tolist()
"""Reads differ far more than callers do."""


def test_a_small_difference_is_seen_through_how_hard_reads_are() -> None:
    second = [i + d for i, d in zip(HARD, RNG.normal(0.01, 0.004, 30).round(3), strict=True)]
    found = compare("a", reads(HARD), "b", reads(second))
    differences = np.round(second, 3) - np.array(HARD)
    expected = stats.ttest_rel(np.round(second, 3), HARD).confidence_interval(0.95)
    assert (found.reads, found.mean_difference) == (30, pytest.approx(differences.mean()))
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert found.wilcoxon_p is not None
    assert found.wilcoxon_p < 1e-4
    assert found.words.startswith("b is better than a: b differs by +0.93 points [+0.77")


def test_the_first_may_be_the_better_one() -> None:
    worse = [i - 0.02 - 0.001 * (n % 2) for n, i in enumerate(HARD)]
    assert compare("a", reads(HARD), "b", reads(worse)).words.startswith(
        "a is better than b: b differs by -2"
    )


def test_noise_is_not_resolved() -> None:
    second = [i + d for i, d in zip(HARD, RNG.normal(0, 0.01, 30), strict=True)]
    found = compare("a", reads(HARD), "b", reads(second))
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0 < found.high
    assert found.words.startswith("not resolved: b differs from a by")


def test_a_caller_against_itself_differs_by_nothing() -> None:
    found = compare("a", reads(HARD), "a", reads(HARD))
    assert (found.mean_difference, found.low, found.high, found.wilcoxon_p) == (0.0, 0.0, 0.0, 1.0)
    assert found.words.startswith("not resolved")


def test_reads_that_one_alone_mapped_are_counted_beside() -> None:
    found = compare("a", reads([0.9, None, None, 0.8]), "b", reads([0.9, 0.7, 0.9, None]))
    assert (found.reads, found.only_first_mapped, found.only_second_mapped) == (1, 1, 2)
    assert found.mapped_p == pytest.approx(1.0)
    assert (found.low, found.wilcoxon_p) == (None, None)
    assert found.words == "not resolved: 1 reads that both mapped are too few"
