"""The drain rate: what it says after which batches."""

import math

import pytest

from service.drain_rate import HALF_LIFE_S, DrainRate


def test_nothing_seen_is_infinitely_fast() -> None:
    assert DrainRate().samples_per_s == math.inf


def test_it_is_the_samples_over_the_time() -> None:
    rate = DrainRate()
    rate.add(1000, 1, fill=1)
    rate.add(1000, 1, fill=1)
    assert rate.samples_per_s == pytest.approx(1000)


def test_it_follows_what_full_batches_do() -> None:
    rate = DrainRate()
    rate.add(10_000, HALF_LIFE_S, fill=1)
    for _ in range(100):
        rate.add(1000, HALF_LIFE_S / 10, fill=1)
    assert rate.samples_per_s == pytest.approx(10_000 / HALF_LIFE_S, rel=0.01)


def test_a_batch_that_is_far_from_full_does_not_slow_it_down() -> None:
    rate = DrainRate()
    rate.add(1000, 1, fill=1)
    rate.add(10, 1, fill=0.01)
    assert rate.samples_per_s == pytest.approx(1000)


def test_a_batch_that_is_far_from_full_can_show_that_it_is_higher() -> None:
    rate = DrainRate()
    rate.add(1000, 1, fill=1)
    rate.add(4000, 1, fill=0.1)
    assert rate.samples_per_s > 2000
