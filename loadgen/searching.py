"""Searches played on somebody's blocks: what `loadgen.search` wants to be tried is tried until it is known.

A trial whose windows do not agree is repeated with windows twice as long. Knows neither locust nor crews: it
is given a function that plays a block.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeVar

from loadgen.observation import Observation, client_limit
from loadgen.search import (
    PRECISION,
    RateTrial,
    UsersTrial,
    ceiling,
    judge_rate,
    judge_users,
    knee,
    next_rate,
    next_users,
    peak,
)

logger = logging.getLogger(__name__)

LEAST_REQUESTS = 100
"""So many requests a window of a trial at some rate has at least: 1 % of them is one."""
MOST_ATTEMPTS = 3
"""So often a trial is made, each time with longer windows, until they agree."""

Trial = TypeVar("Trial", RateTrial, UsersTrial)


class Play(Protocol):
    """Plays a block of windows of `window_s` with so many users; with a rate, in an open loop."""

    def __call__(self, window_s: float, *, users: int, arrival_rate: float | None) -> Observation:
        """Return what was observed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a search has found."""

    words: str
    document: dict[str, Any]
    """The same for programs."""
    found: bool


def find_peak(
    play: Play, *, users: int, first_rate: float, slo_p99_ms: float, most_lag_ms: float, window_s: float
) -> Finding:
    """Find the highest rate whose p99 meets the objective."""
    trials: list[RateTrial] = []
    while rate := next_rate(trials, first_rate):

        def attempt(window_s: float, rate: float = rate) -> RateTrial:
            block = play(window_s, users=users, arrival_rate=rate)
            return judge_rate(block, slo_p99_ms, client_limit(block.window, most_lag_ms))

        trials.append(_until_steady(attempt, max(window_s, LEAST_REQUESTS / rate)))
        logger.info("%s", _rate_words(trials[-1]))
    best, too_high = peak(trials), ceiling(trials)
    if best is None:
        words = f"no rate meets a p99 of {slo_p99_ms:g} ms"
        if too_high:
            words += f"; the last tried: {_rate_words(too_high)}"
    else:
        at_least = "at least " if too_high is None or too_high.verdict == "client-limited" else ""
        words = (
            f"peak: {at_least}{best.reads_per_s:,.3g} reads/s, {best.bases_per_s:,.0f} bases/s, at a p99 of"
            f" {best.p99_ms:,.1f} ms where {slo_p99_ms:g} ms are allowed"
        )
        if too_high:
            words += f"; {_rate_words(too_high)}"
    document = {
        "search": "peak",
        "slo_p99_ms": slo_p99_ms,
        "precision": PRECISION,
        "peak": _plain(best) if best else None,
        "trials": [_plain(trial) for trial in trials],
    }
    return Finding(words, document, found=best is not None)


def find_concurrency(play: Play, *, most_users: int, window_s: float) -> Finding:
    """Find the fewest users beyond which bases/s no longer grow."""
    trials: list[UsersTrial] = []
    while users := next_users(trials, most_users):

        def attempt(window_s: float, users: int = users) -> UsersTrial:
            return judge_users(play(window_s, users=users, arrival_rate=None))

        trials.append(_until_steady(attempt, window_s))
        logger.info("%s", _users_words(trials[-1]))
    best = knee(trials)
    if best is None:
        words = f"no concurrency can be said: {_users_words(trials[-1])}" if trials else "nothing was tried"
    else:
        grows = best.users == most_users and most_users > 1
        tail = "; more users may bring more" if grows else "; more users bring no more"
        words = f"concurrency: {best.users} users, {best.bases_per_s:,.0f} bases/s{tail}"
    document = {
        "search": "concurrency",
        "most_users": most_users,
        "concurrency": _plain(best) if best else None,
        "trials": [_plain(trial) for trial in trials],
    }
    return Finding(words, document, found=best is not None)


def _until_steady(attempt: Callable[[float], Trial], window_s: float) -> Trial:
    """Attempt with longer and longer windows until they agree, or it has been tried often enough."""
    trial = attempt(window_s)
    for number in range(1, MOST_ATTEMPTS):
        if trial.verdict != "unsteady":
            break
        logger.info("the windows of this trial do not agree: once more with longer ones")
        trial = attempt(window_s * 2**number)
    return trial


def _rate_words(trial: RateTrial) -> str:
    p99 = "no answer" if trial.p99_ms is None else f"p99 {trial.p99_ms:,.1f} ms"
    reason = f" ({trial.reason})" if trial.reason else ""
    return f"{trial.reads_per_s:,.3g} reads/s: {trial.verdict}, {p99}{reason}"


def _users_words(trial: UsersTrial) -> str:
    reason = f" ({trial.reason})" if trial.reason else ""
    return f"{trial.users} users: {trial.bases_per_s:,.0f} bases/s, {trial.verdict}{reason}"


def _plain(trial: RateTrial | UsersTrial) -> dict[str, Any]:
    """Return a trial as JSON can say it, which knows no infinity."""
    return {name: None if value == math.inf else value for name, value in asdict(trial).items()}
