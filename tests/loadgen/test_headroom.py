"""Headroom: how much faster the GPUs may get before a path limits them."""

import math

import pytest

from loadgen.headroom import headroom, line_limits
from loadgen.tally import Tally


def test_headroom_is_the_geometric_mean_of_the_rounds() -> None:
    found = headroom("vxlan/podip", [math.log(20), math.log(80)], 1000.0)
    assert found.factor == pytest.approx(40)
    assert found.ceiling_bases_per_s == pytest.approx(40_000)


def test_its_interval_is_that_of_the_t_test_on_the_logarithms() -> None:
    found = headroom("host", [1.0, 2.0, 3.0], 1.0)
    # mean 2, sd 1, t(2; 0.975) 4.302653
    assert (math.log(found.low), math.log(found.high)) == pytest.approx((-0.484137, 4.484137), abs=1e-5)


def test_a_path_without_rounds_has_no_headroom() -> None:
    found = headroom("host", [], math.nan)
    assert math.isnan(found.factor)
    assert found.high == math.inf


def test_a_line_carries_its_rate_over_the_payload_of_a_base_in_the_larger_direction() -> None:
    limits = line_limits(Tally(bases=1_000, request_bytes=20_000, response_bytes=3_000))
    assert limits[1].line_rate_bits_per_s == 10e9
    assert limits[1].bases_per_s == pytest.approx(10e9 / (8 * 20))
    assert limits[1].each_gpu_bases_per_s[8] == pytest.approx(10e9 / (8 * 20) / 8)


def test_without_bases_nothing_is_said_of_lines() -> None:
    assert line_limits(Tally(request_bytes=5)) == ()
