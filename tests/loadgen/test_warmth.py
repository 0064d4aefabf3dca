"""When a path is warm."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from measured import HOST, an_observation

from loadgen.observation import Observation
from loadgen.plan import Block
from loadgen.warmth import is_warm

BLOCK = Block(0, 0, HOST, "model", 0.0)


def windows(speeds: Sequence[float]) -> list[Observation]:
    return [an_observation(BLOCK, speed) for speed in speeds]


@pytest.mark.parametrize(
    ("speeds", "warm"),
    [
        ([1.0, 1.0, 1.0], True),
        ([0.2, 1.0, 1.04, 1.09], True),
        ([1.0, 1.0, 1.12], False),
        ([1.0, 1.0, 1.0, 0.5], False),
        ([1.0, 1.0], False),
        ([], False),
    ],
)
def test_it_is_warm_when_the_last_three_windows_agree_within_10_percent(
    speeds: Sequence[float], warm: bool
) -> None:
    assert is_warm(windows(speeds)) is warm


def test_throughput_alone_is_not_enough_to_be_warm() -> None:
    steady = windows([1.0, 1.0, 1.0])
    slow_answers = replace(steady[2], window=an_observation(BLOCK, 0.5).window)
    assert not is_warm([*steady[:2], slow_answers])


def test_voided_windows_are_not_warm() -> None:
    steady = windows([1.0, 1.0, 1.0])
    assert not is_warm([*steady[:2], replace(steady[2], voids=("broken",))])
