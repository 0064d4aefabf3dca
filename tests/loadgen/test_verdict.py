"""The checker checked: intervals and verdicts on simulated experiments whose truth is known.

An experiment is simulated as it is run: blocks one after the other, rounds in random order, on a machine
whose speed is autocorrelated, drifts, and is now and then taken by a neighbour for a few blocks.
"""

import math
import signal

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm, t

from loadgen import verdict
from loadgen.noise import block_sd, finds
from loadgen.verdict import (
    ERROR_RATE,
    as_ratio,
    classify,
    interval,
    judge,
    judge_difference,
    level,
    phrase,
    phrase_difference,
)

Floats = NDArray[np.float64]

EXPERIMENTS = 2_000
ROUNDS = 8
PATHS = 8
"""Two of them host networking."""
NOISE = 0.01
"""Standard deviation of the log of a block's bases/s within a minute; drift and neighbours add to it."""
BLOCK_SD = 0.014
"""What that comes to in a run, as loadgen.noise measures it and every report says of its own: the promise of
3 % is made for such machines. What noisier ones find is in docs/METHOD.md."""


def machine_speed(rng: np.random.Generator, experiments: int, blocks: int) -> Floats:
    """The log speed of a machine over the blocks of each experiment, [experiments, blocks]."""
    autocorrelation = 0.7
    noise = np.empty((experiments, blocks))
    state = rng.standard_normal(experiments)
    for block in range(blocks):
        fresh = rng.standard_normal(experiments)
        state = autocorrelation * state + math.sqrt(1 - autocorrelation**2) * fresh
        noise[:, block] = state
    time = np.linspace(0, 1, blocks)
    trend, swing, phase = rng.uniform(-1, 1, (3, experiments, 1))
    drift = 0.05 * (trend * time + swing * np.sin(2 * np.pi * (time + phase)))
    busy = np.zeros((experiments, blocks), dtype=bool)
    left = np.zeros(experiments)
    for block in range(blocks):
        begins = rng.random(experiments) < 0.02
        left = np.where(begins, rng.geometric(1 / 3, experiments), np.maximum(left - 1, 0))
        busy[:, block] = left > 0
    burst = -0.10 * rng.random((experiments, blocks)) * busy
    return NOISE * noise + drift + burst


def simulate(seed: int, effect: float = 0.0, rounds: int = ROUNDS) -> tuple[Floats, Floats]:
    """Log-ratios to host networking [experiments, rounds, paths], and the control's [experiments, rounds]."""
    rng = np.random.default_rng(seed)
    speed = machine_speed(rng, EXPERIMENTS, rounds * PATHS).reshape(EXPERIMENTS, rounds, PATHS)
    order = rng.permuted(np.broadcast_to(np.arange(PATHS), speed.shape), axis=-1)
    values = np.take_along_axis(speed, order, axis=-1)
    host = values[..., :2]
    return values[..., 2:] + effect - host.mean(axis=-1, keepdims=True), host[..., 1] - host[..., 0]


def levels(looks: int, error_rate: float) -> list[float]:
    return [level(look, looks, error_rate) for look in range(1, looks + 1)]


def excludes_zero_at_any_look(log_ratios: Floats, error_rate: float) -> NDArray[np.bool_]:
    """Whether the interval excludes 0 after any round; `log_ratios` is [experiments, rounds]."""
    rounds = log_ratios.shape[-1]
    excluded = np.zeros(len(log_ratios), dtype=bool)
    for look, significance in enumerate(levels(rounds, error_rate), start=1):
        low, high = interval(log_ratios[:, :look], significance)
        excluded |= (low > 0) | (high < 0)
    return excluded


@pytest.mark.parametrize("rounds", [6, 8, 12, 30])
@pytest.mark.parametrize("effect", [0.0, -0.03])
def test_95_percent_intervals_cover_the_truth_in_93_to_97_percent_of_experiments(
    rounds: int, effect: float
) -> None:
    log_ratios, _ = simulate(seed=rounds, effect=effect, rounds=rounds)
    low, high = interval(log_ratios[..., 0], ERROR_RATE)
    assert 0.93 <= np.mean((low < effect) & (effect < high)) <= 0.97


@pytest.mark.parametrize("rounds", [6, 8, 12, 30])
def test_looking_after_every_round_host_networking_differs_from_itself_in_at_most_5_percent(
    rounds: int,
) -> None:
    _, control = simulate(seed=100 + rounds, rounds=rounds)
    assert np.mean(excludes_zero_at_any_look(control, ERROR_RATE)) <= 0.05


@pytest.mark.parametrize("rounds", [6, 12])
def test_of_all_looks_at_all_paths_at_most_5_percent_of_experiments_have_any_wrong(rounds: int) -> None:
    log_ratios, _ = simulate(seed=200 + rounds, rounds=rounds)
    paths = log_ratios.shape[-1]
    wrong = [excludes_zero_at_any_look(log_ratios[..., path], ERROR_RATE / paths) for path in range(paths)]
    assert np.mean(np.any(wrong, axis=0)) <= 0.05


def test_the_simulated_machine_has_the_noise_that_the_promise_is_made_for() -> None:
    rng = np.random.default_rng(9)
    speed = machine_speed(rng, 200, ROUNDS * PATHS).reshape(200, ROUNDS, PATHS)
    blocks = rng.permuted(speed, axis=-1)
    assert np.mean([block_sd(of_run) for of_run in blocks]) == pytest.approx(BLOCK_SD, rel=0.05)
    assert finds(BLOCK_SD, rounds=ROUNDS, comparisons=PATHS - 2) == pytest.approx(0.03, abs=0.002)


def test_a_difference_of_3_percent_is_found_with_80_percent_power_within_the_default_rounds() -> None:
    log_ratios, _ = simulate(seed=3, effect=math.log(0.97))
    paths = log_ratios.shape[-1]
    assert np.mean(excludes_zero_at_any_look(log_ratios[..., 0], ERROR_RATE / paths)) >= 0.80


@pytest.mark.parametrize("effect", [0.01, -0.01])
def test_a_path_that_differs_by_delta_is_called_equivalent_in_at_most_2_5_percent(effect: float) -> None:
    log_ratios, _ = simulate(seed=4, effect=math.log1p(effect), rounds=30)
    called = np.zeros(EXPERIMENTS, dtype=bool)
    for look, significance in enumerate(levels(30, ERROR_RATE), start=1):
        low, high = interval(log_ratios[:, :look, 0], significance)
        called |= (math.log1p(-0.01) < low) & (high < math.log1p(0.01))
    assert np.mean(called) <= 0.025


def test_paths_without_a_difference_are_found_equivalent_when_rounds_are_many() -> None:
    log_ratios, _ = simulate(seed=5, rounds=60)
    low, high = interval(log_ratios[..., 0], ERROR_RATE)
    words = [classify(*ends, 0.01) for ends in zip(low, high, strict=True)]
    assert words.count("equivalent") / EXPERIMENTS >= 0.80


def test_at_half_of_the_rounds_the_published_share_of_the_error_is_spent() -> None:
    # Lan and DeMets (1983), two-sided 5 %, O'Brien-Fleming-type: a boundary of 2.963 at half of the way.
    noise = np.random.default_rng(7).standard_normal((100_000, 20))
    crossed = np.zeros(len(noise), dtype=bool)
    for look, significance in enumerate(levels(20, 0.05)[:10], start=1):
        low, high = interval(noise[:, :look], significance)
        crossed |= (low > 0) | (high < 0)
    assert np.mean(crossed) == pytest.approx(2 * norm.sf(2.963), abs=0.0006)


def test_one_look_may_spend_everything() -> None:
    assert levels(1, 0.05) == pytest.approx([0.05])


def test_looks_together_are_wrong_as_often_as_asked_for_independent_noise() -> None:
    noise = np.random.default_rng(6).standard_normal((40_000, 10))
    assert np.mean(excludes_zero_at_any_look(noise, 0.05)) == pytest.approx(0.05, abs=0.003)


def test_an_interval_is_that_of_the_t_test() -> None:
    low, high = interval(np.array([0.01, 0.02, 0.03, 0.06]), 0.05)
    # mean 0.03, sd 0.0216025, t(3; 0.975) 3.182446
    assert (float(low), float(high)) == pytest.approx((-0.0043746, 0.0643746), abs=1e-6)


@pytest.mark.parametrize("values", [[], [0.02]])
def test_fewer_than_two_rounds_bound_nothing(values: list[float]) -> None:
    verdict = judge(values, look=1, looks=8, delta=0.01)
    assert (verdict.word, verdict.low, verdict.high, verdict.more_rounds) == (
        "unresolved",
        0.0,
        math.inf,
        None,
    )
    assert phrase(verdict, more="faster", less="slower", delta=0.01) == (
        "not resolved; fewer than two rounds count"
    )


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-0.009, 0.009, "equivalent"),
        (0.001, 0.009, "equivalent"),
        (0.001, 0.012, "higher"),
        (-0.03, -0.001, "lower"),
        (-0.011, 0.001, "unresolved"),
        (-math.inf, math.inf, "unresolved"),
    ],
)
def test_a_verdict_is_read_from_the_interval(low: float, high: float, word: str) -> None:
    assert classify(low, high, delta=0.01) == word


def test_a_slower_path_is_said_to_be_slower_by_its_percentage_and_interval() -> None:
    values = np.log(0.95) + np.array([0.001, -0.001, 0.002, -0.002, 0.001, -0.001])
    verdict = judge(list(values), look=6, looks=6, delta=0.01)
    assert phrase(verdict, more="faster", less="slower", delta=0.01) == "slower by 5.0 % [4.8, 5.2]"
    assert phrase(verdict, more="dearer", less="cheaper", delta=0.01) == "cheaper by 5.0 % [4.8, 5.2]"


def test_rounds_like_those_so_far_resolve_it_after_as_many_more_as_were_announced() -> None:
    values = [0.00, 0.01, -0.01, 0.012, -0.008, 0.002]
    verdict = judge(values, look=6, looks=6, delta=0.01)
    assert verdict.word == "unresolved"
    assert verdict.more_rounds is not None
    # The same mean and the same spread, in as many rounds as announced and in one less.
    again = np.resize(np.array([1.0, -1.0]), 6 + verdict.more_rounds)

    def decided(rounds: int) -> str:
        noise = again[:rounds] - again[:rounds].mean()
        noise *= np.std(values, ddof=1) / noise.std(ddof=1)
        low, high = interval(np.mean(values) + noise, ERROR_RATE)
        return classify(float(low), float(high), 0.01)

    assert decided(6 + verdict.more_rounds) == "equivalent"
    assert decided(6 + verdict.more_rounds - 1) == "unresolved"


def test_many_paths_make_every_interval_wider() -> None:
    values = [0.01, 0.012, 0.008, 0.011, 0.009, 0.01]
    one, many = (judge(values, look=6, looks=6, delta=0.01, comparisons=paths) for paths in (1, 8))
    assert many.low < one.low < one.ratio < one.high < many.high


def test_ratios_too_large_for_a_double_are_infinite() -> None:
    assert as_ratio(1e6) == math.inf
    assert as_ratio(0.0) == 1.0


def test_a_difference_is_judged_by_the_t_test_and_told_with_its_unit() -> None:
    found = judge_difference([0.4, 0.5, 0.6, 0.5], look=4, looks=4, margin=0.1, resolution=0.0)
    # mean 0.5, sd 0.0816497, and t(3) at the level of the last of four looks.
    half = t.isf(level(4, 4, 0.05) / 2, 3) * 0.0816497 / 2
    assert (found.low, found.high) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-6)
    assert phrase_difference(found, more="dearer", less="cheaper", unit="s", margin=0.1).startswith(
        "dearer by 0.5 s ["
    )


def test_rounds_without_a_single_count_say_no_more_than_their_number_allows() -> None:
    none = [0.0] * 8
    much, little = (
        judge_difference(none, look=8, looks=8, margin=1.0, resolution=resolution)
        for resolution in (0.01, 1.0)
    )
    # -ln(p) counts at p = 2.5 % on each side, or more: the last of eight looks has less than all of it.
    assert much.high >= 0.0369
    assert (much.word, little.word) == ("equivalent", "unresolved")
    assert phrase_difference(much, more="more", less="fewer", unit="%", margin=1.0) == (
        "equivalent within ±1 %"
    )


@pytest.mark.parametrize("rate", [0.0, 0.2, 3.0])
def test_intervals_of_rare_counts_miss_a_difference_of_nothing_in_at_most_5_percent(rate: float) -> None:
    rng = np.random.default_rng(8)
    counts = rng.poisson(rate, (EXPERIMENTS, ROUNDS, 3))
    differences = counts[..., 0] - counts[..., 1:].mean(axis=-1)
    found = [
        judge_difference(list(rounds), look=ROUNDS, looks=ROUNDS, margin=0.0, resolution=1 / ROUNDS)
        for rounds in differences
    ]
    assert np.mean([difference.word != "unresolved" for difference in found]) <= 0.05


def test_levels_that_ctrl_c_broke_off_are_computed_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = level(3, 17, 0.01)
    verdict._begun.cache_clear()
    with monkeypatch.context() as patched:
        # In the second step of the simulation, where Ctrl-C finds it.
        patched.setattr(verdict.np, "partition", lambda *_: signal.raise_signal(signal.SIGINT))
        patched.setattr(verdict.np, "rint", lambda counts: counts * 0 + 5)
        with pytest.raises(KeyboardInterrupt):
            level(3, 17, 0.01)
    assert level(3, 17, 0.01) == wanted
