"""The noise of a run, and how small a difference it can find with that: what a verdict's absence means.

Noise is what is left of the logarithm of a block's value when the means of its path and of its round are
taken away, so that neither true differences nor drift from round to round are counted. Pure.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from loadgen.plan import Arm
from loadgen.verdict import ERROR_RATE, level

POWER = 0.80
"""How often a difference that can be found is found."""
HOST_BLOCKS = 2
"""Blocks of host networking in a round: both arms of the A/A control."""


@dataclass(frozen=True, slots=True)
class Noise:
    """The noise of one arm in bases/s."""

    arm: Arm
    block_sd: float
    """Standard deviation of the logarithm of a block's value: about its share. nan without enough."""
    rounds: int
    """Rounds from which that is known: those in which every path counts."""
    finds: float
    """The least difference, as a share, that all planned rounds would find in POWER of runs. nan likewise."""


def block_sd(logs: NDArray[np.float64]) -> float:
    """Return the noise of `logs` [rounds, paths]; nan where there are fewer than two of either."""
    rounds, paths = logs.shape
    if rounds < 2 or paths < 2:
        return math.nan
    left = logs - logs.mean(axis=0) - logs.mean(axis=1, keepdims=True) + logs.mean()
    return math.sqrt(float((left**2).sum()) / ((rounds - 1) * (paths - 1)))


def finds(block_sd: float, *, rounds: int, comparisons: int) -> float:
    """Return the least difference that `rounds` rounds find with POWER, of one of `comparisons` paths.

    The two quantiles of t stand in for the noncentral distribution, which differs from it by little.
    """
    significance = level(rounds, rounds, ERROR_RATE / max(1, comparisons))
    if not math.isfinite(block_sd) or rounds < 2 or significance <= 0:
        return math.nan
    error = block_sd * math.sqrt((1 + 1 / HOST_BLOCKS) / rounds)
    quantiles = t.isf(significance / 2, rounds - 1) + t.isf(1 - POWER, rounds - 1)
    return math.expm1(min(float(quantiles) * error, math.log(1e6)))


def noise_of(arm: Arm, logs: NDArray[np.float64], *, rounds: int, comparisons: int) -> Noise:
    """Return the noise of an arm from `logs` [rounds, paths], for a plan of `rounds` rounds."""
    found = block_sd(logs)
    return Noise(arm, found, len(logs), finds(found, rounds=rounds, comparisons=comparisons))
