"""The noise of a run is told apart from differences and drift, and says how small a difference it finds."""

import math

import numpy as np
import pytest

from loadgen.noise import POWER, block_sd, finds, noise_of
from loadgen.verdict import ERROR_RATE, interval, level


def test_neither_true_differences_nor_drift_are_noise() -> None:
    drift, difference = np.linspace(0, 3, 12)[:, None], np.array([0.0, 0.0, -0.5, 1.0])
    assert block_sd(drift + difference) == pytest.approx(0.0, abs=1e-12)


def test_the_noise_of_blocks_is_found_whatever_else_they_differ_in() -> None:
    rng = np.random.default_rng(1)
    blocks = 0.04 * rng.standard_normal((400, 8))
    assert block_sd(blocks + np.linspace(0, 1, 400)[:, None]) == pytest.approx(0.04, rel=0.05)


@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (5, 1)])
def test_too_few_blocks_have_no_noise_and_find_nothing(shape: tuple[int, int]) -> None:
    noise = noise_of("model", np.zeros(shape), rounds=8, comparisons=1)
    assert math.isnan(noise.block_sd)
    assert math.isnan(noise.finds)


@pytest.mark.parametrize("rounds", [6, 9, 20])
def test_a_difference_that_can_be_found_is_found_as_often_as_promised(rounds: int) -> None:
    noise, paths, experiments = 0.02, 6, 4_000
    difference = math.log1p(finds(noise, rounds=rounds, comparisons=paths))
    values = noise * np.random.default_rng(2).standard_normal((experiments, rounds, 3))
    log_ratios = values[..., 0] + difference - values[..., 1:].mean(axis=-1)
    low, _ = interval(log_ratios, level(rounds, rounds, ERROR_RATE / paths))
    assert np.mean(low > 0) == pytest.approx(POWER, abs=0.06)
