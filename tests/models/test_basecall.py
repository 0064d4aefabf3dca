"""The mean quality of a call is that of the mean error, over the bases that count."""

import numpy as np
import pytest

from models.basecall import Basecall


def with_qualities(qstring: str, q_start: int = 0) -> Basecall:
    bases = len(qstring)
    return Basecall("A" * bases, qstring, np.ones(bases, np.uint8), 5, 5 * bases, q_start)


def test_the_mean_is_of_errors_and_not_of_scores() -> None:
    assert with_qualities("++++").mean_q == pytest.approx(10.0)
    assert with_qualities("+I").mean_q == pytest.approx(-10 * np.log10((0.1 + 0.0001) / 2))
    assert with_qualities("").mean_q == 0.0


def test_the_first_bases_do_not_count_where_there_are_more() -> None:
    assert with_qualities("!!++", q_start=2).mean_q == pytest.approx(10.0)
    assert with_qualities("++", q_start=2).mean_q == pytest.approx(10.0)
    assert with_qualities("+5", q_start=1).mean_q == pytest.approx(20.0)
