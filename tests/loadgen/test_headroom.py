"""Headroom: how much faster the GPUs may get before a path limits them."""

import math

import pytest

from loadgen.headroom import expected_limits, headroom, line_limits
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


def test_a_line_that_was_given_comes_first_and_once() -> None:
    tally = Tally(bases=1_000, request_bytes=20_000)
    assert [line.line_rate_bits_per_s for line in line_limits(tally, 40e9)] == [40e9, 1e9, 10e9, 25e9, 100e9]
    assert [line.line_rate_bits_per_s for line in line_limits(tally, 25e9)] == [25e9, 1e9, 10e9, 100e9]


def test_gpus_reach_together_what_their_paths_or_the_line_they_share_carry() -> None:
    path = headroom("vxlan/podip", [math.log(20)], 1e6)
    (line, *_) = line_limits(Tally(bases=1, request_bytes=25), 24e9)
    limits = expected_limits([path], [line], beside_the_line=frozenset())
    # The path carries 20 Mbases/s for each GPU, the line 120 Mbases/s for all of them.
    assert [(limit.gpus, limit.bases_per_s, limit.limited_by) for limit in limits] == [
        (1, pytest.approx(20e6), "path"),
        (8, pytest.approx(120e6), "line"),
        (64, pytest.approx(120e6), "line"),
    ]


def test_gpus_may_get_as_much_faster_as_their_share_of_the_limit_is_above_what_they_do_now() -> None:
    path = headroom("routed/podip", [math.log(20)], 1e6)
    (line, *_) = line_limits(Tally(bases=1, request_bytes=25), 3.2e9)
    factors = [limit.factor for limit in expected_limits([path], [line], beside_the_line=frozenset())]
    assert factors == [pytest.approx(16), pytest.approx(2), pytest.approx(0.25)]


def test_a_path_within_a_node_knows_no_line() -> None:
    path = headroom("bridge/podip", [math.log(20)], 1e6)
    lines = line_limits(Tally(bases=1, request_bytes=25))
    limits = list(expected_limits([path], lines, beside_the_line=frozenset({"bridge/podip"})))
    assert {limit.limited_by for limit in limits} == {"path"}
    assert limits[-1].bases_per_s == pytest.approx(64 * 20e6)


def test_a_path_without_rounds_has_no_expected_limits() -> None:
    lines = line_limits(Tally(bases=1, request_bytes=25))
    assert list(expected_limits([headroom("host", [], math.nan)], lines, beside_the_line=frozenset())) == []
