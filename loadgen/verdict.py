"""What may be said of a path: its ratio to host networking, an interval, and a verdict in words.

The unit of analysis is the round: one log-ratio of a path to host networking in the same round. Pure: knows
neither blocks nor clocks.

Interval: Student's t on the paired log-ratios, and not the BCa bootstrap, because rounds are few (5 to 15).
BCa intervals of so few values miss the truth two to three times as often as they say, while a difference of
two noises of one kind is symmetric, which is what t needs when values are few.

Looks: the data are looked at after every round, so that the 5 % of error are spent over the looks with the
O'Brien-Fleming-type function of Lan and DeMets (1983, Biometrika 70:659): 2 - 2 Phi(z / sqrt(f)) on each
side at the share f of the planned rounds. The level of each look follows from it by simulating independent
normal rounds; the usual recursion for a known variance (Jennison and Turnbull, 2000, Group Sequential
Methods) would let 5.8 % through at ten rounds. The intervals are repeated confidence intervals: valid at
all looks together, whatever made the run stop. Confidence sequences would need no planned number of rounds,
but are nearly twice as wide at ten.

Many paths: each of m paths gets 5 % / m (Bonferroni), which holds for intervals and for correlated paths.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, sem, t, ttest_ind

ERROR_RATE = 0.05
"""What all looks at all paths of one measure may be wrong together."""

MOST_ROUNDS = 10_000
"""No more rounds than this are ever advised."""

SIMULATED = 200_000
"""Experiments from which the levels of the looks follow: an error rate of 0.5 % is good to 3 % of itself."""
_SEED = 1

Word = Literal["equivalent", "higher", "lower", "unresolved"]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A ratio to host networking and what may be said of it."""

    word: Word
    ratio: float
    """Geometric mean over the rounds; nan without rounds."""
    low: float
    """Lower end of the interval of the ratio; 0 where nothing bounds it yet."""
    high: float
    """Upper end; infinite where nothing bounds it yet."""
    rounds: int
    """Rounds that count."""
    more_rounds: int | None
    """How many more rounds would resolve it if they were like those so far. None where it is resolved, where
    fewer than two rounds count, and where it is more than MOST_ROUNDS."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference to host networking and what may be said of it."""

    word: Word
    estimate: float
    """Mean over the rounds; nan without rounds."""
    low: float
    """Lower end of its interval; infinite where nothing bounds it yet, as is `high`."""
    high: float
    rounds: int
    """Rounds that count."""


def level(look: int, looks: int, error_rate: float) -> float:
    """Return the two-sided significance level of look number `look` of `looks`, together worth `error_rate`.

    It is 0 where less may be spent than one of SIMULATED experiments.
    """
    coming, known = _begun(looks, error_rate)
    try:
        known.extend(islice(coming, max(0, look - len(known))))
    except BaseException:
        # A generator that Ctrl-C broke off yields no more: the report that follows begins anew.
        _begun.cache_clear()
        raise
    return known[look - 1]


@lru_cache(maxsize=8)
def _begun(looks: int, error_rate: float) -> tuple[Iterator[float], list[float]]:
    """Return the levels still to be computed, and those that were: a look costs no more than its own step."""
    return _levels(looks, error_rate), []


def _levels(looks: int, error_rate: float) -> Iterator[float]:
    # Each side spends its half by its own function, as usual.
    shares = np.arange(1, looks + 1) / looks
    may_have_stopped = np.rint(SIMULATED * 4 * norm.sf(norm.isf(error_rate / 4) / np.sqrt(shares)))
    rng = np.random.default_rng(_SEED)
    # Mean and sum of squared deviations of the rounds so far, of every experiment that goes on.
    means, squares = rng.standard_normal(SIMULATED), np.zeros(SIMULATED)
    # Nothing can be said after one round, unless it was the only one that was wanted.
    yield 0.0 if looks > 1 else error_rate
    for look in range(2, looks + 1):
        steps = rng.standard_normal(len(means)) - means
        means = means + steps / look
        squares = squares + steps**2 * (look - 1) / look
        stopping = int(may_have_stopped[look - 1]) - (SIMULATED - len(means))
        if stopping == 0:
            yield 0.0
            continue
        statistics = np.abs(means) / np.sqrt(squares / (look - 1) / look)
        bound = np.partition(statistics, -stopping)[-stopping]
        yield float(2 * t.sf(bound, look - 1))
        going_on = statistics < bound
        means, squares = means[going_on], squares[going_on]


def interval(log_ratios: Floats, significance: float) -> tuple[Floats, Floats]:
    """Return both ends of the t interval of the mean log-ratio at a two-sided level of `significance`.

    `log_ratios` is [..., rounds]; the ends are [...]. Nothing is bounded by fewer than two rounds, nor at
    level 0.
    """
    rounds = log_ratios.shape[-1]
    if rounds < 2 or significance <= 0:
        unbounded = np.full(log_ratios.shape[:-1], math.inf)
        return -unbounded, unbounded
    centre = log_ratios.mean(axis=-1)
    half = t.isf(significance / 2, rounds - 1) * sem(log_ratios, axis=-1)
    return centre - half, centre + half


def as_ratio(log_ratio: float) -> float:
    """Return the ratio of a log-ratio; infinite where no double is as large."""
    return math.exp(log_ratio) if log_ratio < math.log(sys.float_info.max) else math.inf


def judge(
    log_ratios: Sequence[float], *, look: int, looks: int, delta: float, comparisons: int = 1
) -> Verdict:
    """Judge one of `comparisons` paths after round number `look` of `looks` planned.

    `log_ratios` has one value for each round that counts, at most `look` of them; a ratio within ±delta of 1
    does not matter.
    """
    values = np.asarray(log_ratios, dtype=np.float64)
    error_rate = ERROR_RATE / comparisons
    low, high = (float(end) for end in interval(values, level(look, looks, error_rate)))
    word = classify(low, high, delta)
    more_rounds = None
    if word == "unresolved" and len(values) > 1:
        more_rounds = _more_rounds(values.mean(), values.var(ddof=1), len(values), 1, error_rate, delta)
    return Verdict(
        word=word,
        ratio=as_ratio(float(values.mean())) if len(values) else math.nan,
        low=as_ratio(low),
        high=as_ratio(high),
        rounds=len(values),
        more_rounds=more_rounds,
    )


def judge_unpaired(
    logs: Sequence[float], host_logs: Sequence[float], *, delta: float, comparisons: int = 1
) -> Verdict:
    """Judge one of `comparisons` paths from values that have no rounds in common, looked at once.

    Both are logarithms of values, of a path and of host networking, one a repeat; the interval is Welch's.
    """
    ours, theirs = np.asarray(logs, dtype=np.float64), np.asarray(host_logs, dtype=np.float64)
    rounds = min(len(ours), len(theirs))
    difference = float(ours.mean() - theirs.mean()) if rounds else math.nan
    if rounds < 2:
        return Verdict("unresolved", as_ratio(difference), 0.0, math.inf, rounds, None)
    error_rate = ERROR_RATE / comparisons
    variance = float(ours.var(ddof=1) + theirs.var(ddof=1))
    low = high = difference
    # Repeats that agree to the last digit that was written down leave Welch's degrees of freedom undefined.
    if variance:
        ends = ttest_ind(ours, theirs, equal_var=False).confidence_interval(1 - error_rate)
        low, high = float(ends.low), float(ends.high)
    word = classify(low, high, delta)
    more_rounds = None
    if word == "unresolved":
        more_rounds = _more_rounds(difference, variance, rounds, 2, error_rate, delta)
    return Verdict(word, as_ratio(difference), as_ratio(low), as_ratio(high), rounds, more_rounds)


def judge_difference(
    differences: Sequence[float],
    *,
    look: int,
    looks: int,
    margin: float,
    resolution: float,
    comparisons: int = 1,
) -> Difference:
    """Judge one of `comparisons` differences of a rate, as `judge` does ratios; ±margin does not matter.

    `resolution` is what one count more would change of the mean. Rounds in which nothing was counted agree
    perfectly, and say the less the fewer they are: of something of which none was seen there may be
    log(1/p) counts, at a level of p on each side (Poisson), and no interval is narrower than that.
    """
    values = np.asarray(differences, dtype=np.float64)
    significance = level(look, looks, ERROR_RATE / comparisons)
    low, high = (float(end) for end in interval(values, significance))
    centre = float(values.mean()) if len(values) else math.nan
    if math.isfinite(low):
        least = resolution * math.log(2 / significance)
        low, high = min(low, centre - least), max(high, centre + least)
    return Difference(_classify(low, high, (-margin, margin)), centre, low, high, len(values))


def classify(low: float, high: float, delta: float) -> Word:
    """Name what an interval of a log-ratio says. Inside ±delta is equivalence by two one-sided tests, each at
    half of the interval's error rate; it goes before a difference too small to matter."""
    return _classify(low, high, (math.log1p(-delta), math.log1p(delta)))


def _classify(low: float, high: float, band: tuple[float, float]) -> Word:
    if band[0] < low and high < band[1]:
        return "equivalent"
    if low > 0:
        return "higher"
    if high < 0:
        return "lower"
    return "unresolved"


def _more_rounds(
    mean: float, variance: float, done: int, samples: int, error_rate: float, delta: float
) -> int | None:
    """Return how many more rounds of the same mean and spread would resolve it; see Verdict.

    `variance` is that of one round: of its log-ratio, or the sum of those of `samples` samples.
    """
    mean = abs(mean)
    enough = max(mean, math.log1p(delta) - mean)
    rounds = np.arange(2, MOST_ROUNDS + 1)
    half = t.isf(error_rate / 2, samples * (rounds - 1)) * np.sqrt(variance / rounds)
    resolving = rounds[half < enough]
    return max(1, int(resolving[0]) - done) if len(resolving) else None


def phrase(verdict: Verdict, *, more: str, less: str, delta: float, unit: str = "round") -> str:
    """Say a verdict in words; `more` and `less` are the words for a ratio above and below 1, `unit` is what
    its rounds are."""
    if verdict.word == "equivalent":
        return f"equivalent within ±{100 * delta:g} %"
    if verdict.word == "unresolved":
        if verdict.rounds < 2:
            return f"not resolved; fewer than two {unit}s count"
        if verdict.more_rounds is None:
            return f"not resolved; {MOST_ROUNDS:,} more {unit}s would not do"
        plural = "" if verdict.more_rounds == 1 else "s"
        return f"not resolved; about {verdict.more_rounds:,} more {unit}{plural} would"
    ends = sorted(100 * abs(ratio - 1) for ratio in (verdict.low, verdict.high))
    word = more if verdict.word == "higher" else less
    return f"{word} by {100 * abs(verdict.ratio - 1):.1f} % [{ends[0]:.1f}, {ends[1]:.1f}]"


def phrase_difference(difference: Difference, *, more: str, less: str, unit: str, margin: float) -> str:
    """Say a difference in words; for `more` and `less` see `phrase`."""
    if difference.word == "equivalent":
        return f"equivalent within ±{margin:.2g} {unit}"
    if difference.word == "unresolved":
        return "not resolved" if difference.rounds > 1 else "not resolved; fewer than two rounds count"
    ends = sorted(abs(end) for end in (difference.low, difference.high))
    word = more if difference.word == "higher" else less
    return f"{word} by {abs(difference.estimate):.2g} {unit} [{ends[0]:.2g}, {ends[1]:.2g}]"
