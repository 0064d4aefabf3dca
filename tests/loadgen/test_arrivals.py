"""What a schedule promises: exponential gaps, which a seed alone decides."""

from itertools import islice

import numpy as np
import pytest
from scipy import stats

from loadgen.arrivals import arrivals


@pytest.mark.parametrize("reads_per_s", [0.5, 200.0])
def test_gaps_are_exponential(reads_per_s: float) -> None:
    gaps_s = np.diff([0.0, *islice(arrivals(reads_per_s, "ks"), 5000)])
    assert stats.kstest(gaps_s, stats.expon(scale=1 / reads_per_s).cdf).pvalue > 0.01


def test_schedules_of_several_users_are_together_one_of_their_summed_rates() -> None:
    until_s = 100.0
    together = sorted(
        at_s for seat in range(8) for at_s in islice(arrivals(5.0, f"1/{seat}"), 1000) if at_s < until_s
    )
    assert len(together) == pytest.approx(8 * 5.0 * until_s, rel=0.06)
    assert stats.kstest(np.diff(together), stats.expon(scale=1 / 40.0).cdf).pvalue > 0.01


def test_gaps_of_another_rate_do_not_pass_for_these() -> None:
    gaps_s = np.diff([0.0, *islice(arrivals(10.0, "ks"), 5000)])
    assert stats.kstest(gaps_s, stats.expon(scale=1 / 12.0).cdf).pvalue < 1e-6


def test_the_seed_alone_decides() -> None:
    def first(seed: str) -> list[float]:
        return list(islice(arrivals(10.0, seed), 100))

    assert first("1/0") == first("1/0") != first("1/1")
