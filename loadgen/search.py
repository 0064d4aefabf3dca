"""Two searches, by trials: the highest rate whose p99 meets an objective, and the concurrency beyond which
bases/s no longer grow.

A trial is one load kept up for several windows; it means something where they agree. Pure: what to try next
follows from the trials so far, and somebody else tries it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from loadgen.observation import Observation
from loadgen.warmth import WARM_AGREEMENT, WARM_WINDOWS
from loadgen.window import Window

Verdict = Literal["met", "missed", "unsteady", "client-limited", "void"]
"""Whether an objective was met, where there is one; else `met` is what counts, as far as its windows
agree."""

WINDOWS = WARM_WINDOWS
AGREEMENT = WARM_AGREEMENT
"""The largest of the windows of a trial may exceed the smallest by this share."""
PRECISION = 0.05
"""The peak is known when the lowest rate that is too high exceeds it by no more than this share."""
GROWTH = 0.05
"""Bases/s have stopped growing where twice the users bring less than this share more."""
MOST_TRIALS = 40
LOWEST_RATE = 0.01
"""In reads/s: where even this misses the objective, nothing meets it."""


@dataclass(frozen=True, slots=True)
class RateTrial:
    """What came of sending at a rate."""

    reads_per_s: float
    verdict: Verdict
    p99_ms: float | None
    """Of all requests, of which the failed ones took for ever; None without any."""
    bases_per_s: float
    reason: str = ""
    """Why it is `client-limited` or `void`."""


@dataclass(frozen=True, slots=True)
class UsersTrial:
    """What came of sending with so many users in a closed loop."""

    users: int
    verdict: Verdict
    bases_per_s: float
    p50_ms: float | None
    reason: str = ""


def agree(values: Sequence[float | None]) -> bool:
    """Say whether all values are there and within AGREEMENT of each other."""
    known = [value for value in values if value is not None]
    return bool(known) and len(known) == len(values) and max(known) <= min(known) * (1 + AGREEMENT)


def is_steady(windows: Sequence[Window], *, offered: bool) -> bool:
    """Say whether throughput and median latency of the windows agree.

    Where the load is `offered` by a schedule, throughput is what was answered in a window for each sample
    that was to be sent in it: the schedule itself is not steady.
    """
    speeds = [
        window.spread_samples / window.tally.samples
        if offered and window.tally.samples
        else window.spread_samples
        for window in windows
    ]
    return agree(speeds) and agree([window.tally.latency.quantile_ms(0.5) for window in windows])


def judge_rate(block: Observation, slo_p99_ms: float, limit: str) -> RateTrial:
    """Return what a block at a rate says; `limit` says why the client was the limit, if it was.

    Where answers took too long from when they were really asked for, the service is too slow whoever was
    late.
    """
    p99_ms = block.window.request_quantile_ms(0.99)
    served_ms = math.inf if p99_ms == math.inf else block.window.service.quantile_ms(0.99)
    others = [reason for reason in block.voids if reason != limit and "requests failed" not in reason]
    reason = ""
    verdict: Verdict
    if p99_ms is None or served_ms is None:
        verdict, reason = "void", "; ".join(block.voids) or "no request of the window was answered"
    elif served_ms > slo_p99_ms and not block.client_is_saturated:
        verdict = "missed"
    elif limit or block.client_is_saturated:
        verdict, reason = "client-limited", limit or "; ".join(others)
    elif others:
        verdict, reason = "void", "; ".join(others)
    elif p99_ms > slo_p99_ms:
        verdict = "missed"
    else:
        verdict = "met" if is_steady(block.windows, offered=True) else "unsteady"
    return RateTrial(block.arrival_rate or 0.0, verdict, p99_ms, block.bases_per_s, reason)


def judge_users(block: Observation) -> UsersTrial:
    """Return what a block of a closed loop says."""
    verdict: Verdict = (
        "void" if block.voids else "met" if is_steady(block.windows, offered=False) else "unsteady"
    )
    return UsersTrial(block.users, verdict, block.bases_per_s, block.p50_ms, "; ".join(block.voids))


def next_rate(trials: Sequence[RateTrial], first: float) -> float | None:
    """Return the rate to try next; None where the peak is known, or cannot be.

    From `first` on rates are doubled until one does not meet the objective, or halved until one does; then
    the gap between the two is halved.
    """
    if not trials:
        return first
    if len(trials) >= MOST_TRIALS or any(trial.verdict == "void" for trial in trials):
        return None
    met = [trial.reads_per_s for trial in trials if trial.verdict == "met"]
    not_met = [trial.reads_per_s for trial in trials if trial.verdict != "met"]
    if not not_met:
        return 2 * max(met)
    too_high = min(not_met)
    if not met:
        return too_high / 2 if too_high / 2 >= LOWEST_RATE else None
    low = max(met)
    return None if too_high <= low * (1 + PRECISION) else math.sqrt(low * too_high)


def peak(trials: Sequence[RateTrial]) -> RateTrial | None:
    """Return the trial of the highest rate that met the objective, if one did."""
    return max(
        (trial for trial in trials if trial.verdict == "met"),
        key=lambda trial: trial.reads_per_s,
        default=None,
    )


def ceiling(trials: Sequence[RateTrial]) -> RateTrial | None:
    """Return the trial of the lowest rate that did not meet the objective, if there is one."""
    return min(
        (trial for trial in trials if trial.verdict != "met"),
        key=lambda trial: trial.reads_per_s,
        default=None,
    )


def next_users(trials: Sequence[UsersTrial], most: int) -> int | None:
    """Return the concurrency to try next, `most` at most; None where it is known where bases/s stop growing.

    Users are doubled until that brings less than GROWTH; then the smallest number that brings as much is
    looked for below, by halving.
    """
    if not trials:
        return 1
    if len(trials) >= MOST_TRIALS or any(trial.verdict == "void" for trial in trials):
        return None
    speeds = {trial.users: trial.bases_per_s for trial in trials}
    largest = max(speeds)
    if largest < most and (largest == 1 or _grew(speeds, largest)):
        return min(2 * largest, most)
    low = max((users for users in speeds if not _suffices(speeds, users)), default=0)
    high = min(users for users in speeds if users > low)
    return None if high - low <= max(1, high // 8) else (low + high) // 2


def knee(trials: Sequence[UsersTrial]) -> UsersTrial | None:
    """Return the trial of the fewest users beyond which bases/s no longer grow; None without any that
    counts."""
    valid = [trial for trial in trials if trial.verdict != "void"]
    speeds = {trial.users: trial.bases_per_s for trial in valid}
    low = max((users for users in speeds if not _suffices(speeds, users)), default=0)
    return min((trial for trial in valid if trial.users > low), key=lambda trial: trial.users, default=None)


def _grew(speeds: dict[int, float], largest: int) -> bool:
    """Say whether the last doubling of the users, up to `largest`, was worth it."""
    return speeds[largest] >= (1 + GROWTH) * max(speed for users, speed in speeds.items() if users < largest)


def _suffices(speeds: dict[int, float], users: int) -> bool:
    """Say whether so many users bring all but GROWTH of the most that was seen."""
    return speeds[users] * (1 + GROWTH) >= max(speeds.values())
