"""Several runs together: each held against its own host networking, side by side, and what may be compared.

Nothing is pooled: rounds of two runs share no host networking, so that no number here is made of two runs.
Pure.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as File

from loadgen.results import Run

_MODEL_FACT = re.compile(r"model (.+), default")


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that runs have in common or not."""

    name: str
    values: tuple[str, ...]
    """One for each run."""
    needed: bool
    """Whether ratios may be held side by side only where it is the same."""

    @property
    def same(self) -> bool:
        """Whether all runs have it in common."""
        return len(set(self.values)) == 1


@dataclass(frozen=True, slots=True)
class Together:
    """What several runs have in common."""

    names: tuple[str, ...]
    conditions: tuple[Condition, ...]
    groups: tuple[tuple[str, ...], ...]
    """Names of the runs whose ratios may be held side by side; every run is in one group."""

    def sentences(self) -> Iterator[str]:
        """Say what may be compared, and what may not."""
        for group in self.groups:
            if len(group) > 1:
                yield (
                    f"Ratios and verdicts of {' and '.join(group)} may be held side by side: each is against"
                    " the host networking of its own run, and what is needed for that is the same."
                )
        differing = [c.name for c in self.conditions if c.needed and not c.same]
        if differing:
            yield (
                f"Ratios of {'; '.join(' and '.join(group) for group in self.groups)} may not be compared"
                f" with each other: they differ in {', '.join(differing)}."
            )
        yield (
            "Bases per second, milliseconds and CPU seconds may not be compared between runs: they are those"
            " of different machines, or of different hours."
        )
        yield (
            "Nothing is pooled. Paths of one name in two runs need not be built alike, and that one was"
            " resolved and another was not is no difference between them."
        )
        yield (
            f"Each run is wrong in any of its verdicts of a measure in at most 5 % of cases, so that of"
            f" {len(self.names)} together one is in up to {5 * len(self.names)} %."
        )


def put_together(runs: Mapping[str, Run]) -> Together:
    """Return what `runs`, given by name, have in common."""
    conditions = tuple(_conditions(list(runs.values())))
    needed = [condition for condition in conditions if condition.needed]
    groups: dict[tuple[str, ...], list[str]] = {}
    for index, name in enumerate(runs):
        groups.setdefault(tuple(condition.values[index] for condition in needed), []).append(name)
    return Together(tuple(runs), conditions, tuple(map(tuple, groups.values())))


def _conditions(runs: Sequence[Run]) -> Iterator[Condition]:
    plans = [run.setup.plan for run in runs]

    def condition(name: str, values: Iterable[object], *, needed: bool) -> Condition:
        return Condition(name, tuple(str(value) for value in values), needed)

    yield condition("kind of run", (run.setup.kind for run in runs), needed=True)
    yield condition("model", map(_model, runs), needed=True)
    yield condition("reads", (_reads(run) for run in runs), needed=True)
    yield condition("users", (_joined(plan.users) for plan in plans), needed=True)
    yield condition("connections", (plan.connection for plan in plans), needed=True)
    yield condition("±δ that does not matter", (f"{run.setup.delta:.2%}" for run in runs), needed=True)
    yield condition(
        "block", (f"{p.block_s:g} s, of which {p.settle_s:g} s to settle" for p in plans), needed=False
    )
    for option in dict.fromkeys(name for run in runs for name in run.setup.options):
        values = [run.setup.options.get(option) or "–" for run in runs]
        if option != "paths" and set(map(str, values)) != {"–"}:
            yield condition(option, values, needed=False)
    for fact in ("CPU", "cores usable", "operating system", "fiveways version"):
        yield condition(fact, (_fact(run, fact) for run in runs), needed=False)


def _reads(run: Run) -> str:
    source = run.setup.plan.reads
    size = f"pieces of {source.chunk_samples} samples" if source.chunk_samples else "whole"
    if not source.paths:
        return f"simulated with seed {source.seed}, {size}"
    # Where a folder is says nothing of what it holds, and the same reads are elsewhere on another machine.
    return f"{', '.join(File(path).name for path in source.paths)}, {size}"


def _model(run: Run) -> str:
    """Return the model that was asked for, or what the service says is its own."""
    if run.setup.plan.model:
        return run.setup.plan.model
    matches = (_MODEL_FACT.fullmatch(fact.name) for fact in run.facts if fact.value == "True")
    return next((match[1] for match in matches if match), "the service's own, which it does not name")


def _fact(run: Run, name: str) -> str:
    values = (fact.value for fact in run.facts if fact.path is None and fact.name == name)
    return ", ".join(dict.fromkeys(values)) or "not known"


def _joined(pairs: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in pairs.items())


def labels(folders: Sequence[File]) -> dict[File, str]:
    """Return a name for each folder, unlike all others: its own, with as many parents as that takes."""
    whole = {folder: folder.resolve() for folder in folders}

    def label(folder: File, parts: int) -> str:
        return "/".join(whole[folder].parts[-parts:])

    deepest = max((len(path.parts) for path in whole.values()), default=1)
    named = {}
    for folder in folders:
        others = [other for other in folders if whole[other] != whole[folder]]
        named[folder] = next(
            (
                label(folder, parts)
                for parts in range(1, deepest + 1)
                if all(label(other, parts) != label(folder, parts) for other in others)
            ),
            str(whole[folder]),
        )
    return named
