"""What the searches promise, of services that are made of numbers: the peak and the knee are found, and said
to be unknown where they are."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from measured import HOST, an_observation

from loadgen.observation import Observation
from loadgen.plan import Block
from loadgen.search import (
    PRECISION,
    RateTrial,
    UsersTrial,
    agree,
    ceiling,
    is_steady,
    judge_rate,
    judge_users,
    knee,
    next_rate,
    next_users,
    peak,
)
from loadgen.tally import Tally
from loadgen.window import Window


def rate_trials(of: Callable[[float], RateTrial], first: float) -> list[RateTrial]:
    trials: list[RateTrial] = []
    while rate := next_rate(trials, first):
        trials.append(of(rate))
    return trials


def a_service(capacity: float) -> Callable[[float], RateTrial]:
    def trial(rate: float) -> RateTrial:
        return RateTrial(rate, "met" if rate <= capacity else "missed", 100.0, 1000 * rate)

    return trial


@pytest.mark.parametrize("first", [0.5, 1.0, 37.0, 5000.0])
def test_the_peak_is_found_from_wherever_the_search_begins(first: float) -> None:
    trials = rate_trials(a_service(123.0), first)
    best, too_high = peak(trials), ceiling(trials)
    assert best is not None
    assert too_high is not None
    assert best.reads_per_s <= 123.0 < too_high.reads_per_s <= best.reads_per_s * (1 + PRECISION)
    assert len(trials) < 20


def test_a_service_that_meets_no_rate_has_no_peak() -> None:
    trials = rate_trials(lambda rate: RateTrial(rate, "missed", 900.0, 0.0), 8.0)
    assert peak(trials) is None
    assert len(trials) < 12


def test_the_search_ends_where_nothing_is_too_much() -> None:
    trials = rate_trials(lambda rate: RateTrial(rate, "met", 1.0, rate), 1.0)
    assert len(trials) == 40
    assert ceiling(trials) is None


def test_a_client_that_is_the_limit_bounds_the_search() -> None:
    def trial(rate: float) -> RateTrial:
        return RateTrial(rate, "met" if rate < 50 else "client-limited", 100.0, rate)

    trials = rate_trials(trial, 1.0)
    too_high = ceiling(trials)
    assert too_high is not None
    assert too_high.verdict == "client-limited"


def test_a_trial_that_says_nothing_ends_the_search() -> None:
    trials = [RateTrial(1.0, "met", 5.0, 1.0), RateTrial(2.0, "void", None, 0.0)]
    assert next_rate(trials, 1.0) is None
    assert next_users([UsersTrial(1, "void", 0.0, None)], 64) is None


def users_trials(speed: Callable[[int], float], most: int) -> list[UsersTrial]:
    trials: list[UsersTrial] = []
    while users := next_users(trials, most):
        trials.append(UsersTrial(users, "met", speed(users), 10.0))
    return trials


@pytest.mark.parametrize("capacity", [1, 2, 3, 7, 8, 13, 30])
def test_the_concurrency_is_where_bases_stop_growing(capacity: int) -> None:
    trials = users_trials(lambda users: 1000.0 * min(users, capacity), 64)
    best = knee(trials)
    assert best is not None
    assert best.users == pytest.approx(capacity, rel=0.15, abs=1)
    assert best.bases_per_s >= 1000.0 * capacity / 1.05
    assert max(trial.users for trial in trials) <= 4 * capacity


def test_more_users_than_there_are_is_never_tried() -> None:
    trials = users_trials(lambda users: 1000.0 * users, 24)
    assert max(trial.users for trial in trials) == 24
    best = knee(trials)
    assert best is not None
    assert best.users >= 22


def a_window(samples: int, latency_ms: float, *, spread: float = 1.0) -> Window:
    tally = Tally()
    for _ in range(10):
        tally.add_answer(
            bases=samples // 100,
            samples=samples // 10,
            request_bytes=samples // 5,
            response_bytes=1,
            client_ms=latency_ms,
            stage_ms={},
            lag_ms=0.0,
        )
    return Window(tally, spread * samples / 10, spread * samples)


def test_windows_that_agree_within_ten_percent_are_steady() -> None:
    assert agree([100.0, 109.0, 105.0])
    assert not agree([100.0, 111.0, 105.0])
    assert not agree([100.0, None, 100.0])
    assert not agree([])


def test_a_schedule_that_is_not_steady_is_not_the_services_fault() -> None:
    windows = [a_window(samples, 20.0) for samples in (1000, 1500, 1200)]
    assert is_steady(windows, offered=True)
    assert not is_steady(windows, offered=False)
    falling_behind = [a_window(1000, 20.0, spread=spread) for spread in (1.0, 0.9, 0.8)]
    assert not is_steady(falling_behind, offered=True)
    slowing_down = [a_window(1000, latency_ms) for latency_ms in (20.0, 30.0, 40.0)]
    assert not is_steady(slowing_down, offered=True)


def a_block(p99_ms: float = 50.0, **changes: object) -> Observation:
    windows = tuple(a_window(1000, p99_ms) for _ in range(3))
    block = an_observation(Block(0, 0, HOST, "model", 0.0))
    tally = Tally()
    for window in windows:
        tally.merge(window.tally)
    changes = {"window": tally, "total": tally, "windows": windows, "arrival_rate": 10.0, **changes}
    return replace(block, **changes)  # type: ignore[arg-type]


def test_a_rate_is_judged_by_what_requests_took() -> None:
    assert judge_rate(a_block(), 100.0, "").verdict == "met"
    missed = judge_rate(a_block(), 40.0, "")
    assert missed.verdict == "missed"
    assert missed.p99_ms == pytest.approx(50.0, rel=0.01)
    assert missed.reads_per_s == 10.0


def test_failures_miss_the_objective() -> None:
    failing = a_block()
    for _ in range(5):
        failing.window.add_failure("503 Busy", rejected=True, lag_ms=0.0)
    trial = judge_rate(replace(failing, voids=("5 of 35 requests failed; 5 times: 503 Busy",)), 100.0, "")
    assert (trial.verdict, trial.p99_ms) == ("missed", math.inf)


def test_a_client_that_lags_is_told_from_a_service_that_is_slow() -> None:
    limit = "client-limited: it lags"
    assert judge_rate(a_block(voids=(limit,)), 100.0, limit).verdict == "client-limited"
    assert judge_rate(a_block(voids=(limit,)), 40.0, limit).verdict == "missed"
    saturated = a_block(busiest_client=0.99, server_cpu_s=0.1, voids=("the load generator was saturated",))
    trial = judge_rate(saturated, 40.0, "")
    assert (trial.verdict, trial.reason) == ("client-limited", "the load generator was saturated")


def test_what_voids_a_block_voids_its_trial() -> None:
    restarted = a_block(voids=("the server was restarted during the block",))
    assert judge_rate(restarted, 100.0, "").verdict == "void"
    assert judge_users(restarted) == UsersTrial(
        8, "void", restarted.bases_per_s, restarted.p50_ms, "the server was restarted during the block"
    )
    assert judge_rate(a_block(window=Tally()), 100.0, "").verdict == "void"
