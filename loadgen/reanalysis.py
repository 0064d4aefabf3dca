"""What may be said of others' repeats: every path of a system held against one of them, with an interval.

Where the repeats of two paths were made in turns, as their order tells, repeat by repeat is compared, so that
drift cancels (paired t on the log-ratios). Where one path's came before the other's, or nobody knows, their
logarithms are compared as two samples (Welch, 1947, Biometrika 34:28): what drifted meanwhile is then part of
the difference, and a gate says so. All comparisons of a file share one error rate (Bonferroni). Pure.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from loadgen.errors import ResultsError
from loadgen.gates import Gate
from loadgen.repeats import Repeat
from loadgen.results import Mark, mark
from loadgen.verdict import ERROR_RATE, Verdict, judge, judge_unpaired, phrase

HOST = "host"
"""The path the others are held against where there is one of this name and none is chosen."""

Design = Literal["paired", "unpaired"]


@dataclass(frozen=True, slots=True)
class Reading:
    """One path of one system held against that system's baseline."""

    system: str
    path: str
    design: Design
    value: float
    """Geometric mean of the repeats that count."""
    baseline_value: float
    baseline_repeats: int
    verdict: Verdict
    """Its interval has this comparison's share of the error of all; `rounds` are the repeats that count."""
    words: str
    alone: Verdict
    """The same with the whole 5 % of error, as if there were no other comparison: what papers show."""

    @property
    def mark(self) -> Mark:
        """What it comes to, for whoever colours it."""
        return mark(self.verdict.word)

    @property
    def name(self) -> str:
        """What pictures call it."""
        return f"{self.system}: {self.path}"


@dataclass(frozen=True, slots=True)
class Reanalysis:
    """What follows from a file of repeats."""

    baseline: str
    delta: float
    readings: tuple[Reading, ...]
    gates: tuple[Gate, ...]

    @property
    def comparable(self) -> int:
        """How many comparisons have enough repeats for an interval."""
        return sum(math.isfinite(reading.alone.high) for reading in self.readings)

    @property
    def alone_differ(self) -> int:
        """How many intervals of 95 % each, taken alone, leave out 1."""
        return sum(not reading.alone.low <= 1 <= reading.alone.high for reading in self.readings)

    @property
    def differ_by_chance(self) -> float:
        """How many would on average where nothing differs."""
        return ERROR_RATE * self.comparable


def reanalyse(repeats: Sequence[Repeat], *, baseline: str, delta: float) -> Reanalysis:
    """Hold every path against `baseline`, empty for HOST or else the first. Raises ResultsError."""
    names = list(dict.fromkeys(repeat.path for repeat in repeats))
    baseline = baseline or (HOST if HOST in names else names[0])
    if baseline not in names:
        raise ResultsError(f"no path is called {baseline}; there are {', '.join(names)}")
    systems = list(dict.fromkeys(repeat.system for repeat in repeats))
    pairs = [pair for system in systems for pair in _pairs(repeats, system, baseline)]
    if not pairs:
        raise ResultsError(f"there is no path but {baseline} to hold against it")
    readings = tuple(_read(path, host, delta, comparisons=len(pairs)) for path, host in pairs)
    return Reanalysis(baseline, delta, readings, tuple(_gates(repeats, systems, readings)))


def _pairs(
    repeats: Sequence[Repeat], system: str, baseline: str
) -> Iterator[tuple[tuple[Repeat, ...], tuple[Repeat, ...]]]:
    """Yield the repeats of each path of a system beside those of its baseline."""
    of_system = [repeat for repeat in repeats if repeat.system == system]
    host = tuple(repeat for repeat in of_system if repeat.path == baseline)
    paths = [path for path in dict.fromkeys(repeat.path for repeat in of_system) if path != baseline]
    if not host:
        raise ResultsError(
            f"{system} has no path {baseline} to hold its others against; it has {', '.join(paths)}"
        )
    for path in paths:
        yield tuple(repeat for repeat in of_system if repeat.path == path), host


def _read(path: Sequence[Repeat], host: Sequence[Repeat], delta: float, *, comparisons: int) -> Reading:
    by_repeat = {repeat.repeat: repeat for repeat in host}
    paired = in_turns(path, host)
    if paired:
        path = [repeat for repeat in path if repeat.repeat in by_repeat]
        host = [by_repeat[repeat.repeat] for repeat in path]
    ours, theirs = ([math.log(repeat.value) for repeat in side] for side in (path, host))

    def judged(comparisons: int) -> Verdict:
        if not paired:
            return judge_unpaired(ours, theirs, delta=delta, comparisons=comparisons)
        ratios = [one - other for one, other in zip(ours, theirs, strict=True)]
        return judge(ratios, look=1, looks=1, delta=delta, comparisons=comparisons)

    verdict = judged(comparisons)
    return Reading(
        system=path[0].system,
        path=path[0].path,
        design="paired" if paired else "unpaired",
        value=math.exp(np.mean(ours)),
        baseline_value=math.exp(np.mean(theirs)),
        baseline_repeats=len(theirs),
        verdict=verdict,
        words=phrase(verdict, more="higher", less="lower", delta=delta, unit="repeat"),
        alone=judged(1),
    )


def in_turns(path: Sequence[Repeat], host: Sequence[Repeat]) -> bool:
    """Say whether two paths were measured in turns: each repeat of both before the next of either.

    They share at least two repeats then; those that only one of them has do not count.
    """
    numbers = sorted({repeat.repeat for repeat in path} & {repeat.repeat for repeat in host})
    if len(numbers) < 2:
        return False
    moments: dict[int, list[int]] = {number: [] for number in numbers}
    for repeat in (*path, *host):
        if repeat.order is None:
            return False
        if repeat.repeat in moments:
            moments[repeat.repeat].append(repeat.order)
    rounds = sorted(moments.values())
    return all(max(one) < min(other) for one, other in pairwise(rounds))


def _gates(repeats: Sequence[Repeat], systems: Sequence[str], readings: Sequence[Reading]) -> Iterator[Gate]:
    for system in systems:
        unpaired = [r.path for r in readings if r.system == system and r.design == "unpaired"]
        ordered = all(repeat.order is not None for repeat in repeats if repeat.system == system)
        why = "one path was measured after the other" if ordered else "nobody says in which order"
        yield Gate(
            f"{system}: measured in turns",
            not unpaired,
            f"{', '.join(unpaired)}: {why}, so that drift cannot be told from the path"
            if unpaired
            else "each repeat of every path came before the next one",
        )
    few = [reading.name for reading in readings if not math.isfinite(reading.alone.high)]
    yield Gate(
        "repeats", not few, f"fewer than two: {', '.join(few)}" if few else "two or more of every path"
    )
    yield Gate(
        "A/A control",
        False,
        "the file cannot tell whether its baseline, measured twice, would differ from itself",
    )
