"""A run and its results, and the folder that holds both.

`blocks.jsonl` has what was measured, `results.json` what the run was and what follows from the blocks, which
`loadgen.analysis` can compute again at any time. Plain values; knows no processes.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path as File
from typing import Any, Literal, Self

import orjson

from loadgen.errors import ResultsError
from loadgen.facts import Conflict, Fact
from loadgen.gates import Gate
from loadgen.headroom import ExpectedLimit, Headroom, LineLimit
from loadgen.measure import Measure, Rate
from loadgen.noise import Noise
from loadgen.observation import Observation, read_observations
from loadgen.plan import Arm, Plan
from loadgen.topology import Absence
from loadgen.verdict import Difference, Verdict, Word

SCHEMA = 1
"""Version of results.json."""
RESULTS, BLOCKS = "results.json", "blocks.jsonl"
SHARES = ("network", "receive", "queue", "compute", "decode", "other")
"""Where the time of an answer goes: what the service leaves unexplained, its stages, and the rest."""

Kind = Literal["lab", "urls", "cluster"]
Mark = Literal["same", "differs", "open"]


@dataclass(frozen=True, slots=True)
class Setup:
    """What a run was to measure: all that was chosen, and nothing that was found."""

    kind: Kind
    plan: Plan
    baseline: str
    """Name of the path the others are held against: host networking."""
    control: str
    """Name of the same path measured once more: the other arm of the A/A control."""
    delta: float
    """A ratio within ±delta of 1 does not matter."""
    budget_s: float
    started_s: float
    """In seconds since 1970."""
    options: Mapping[str, Any]
    """What else was set."""

    @property
    def compared(self) -> tuple[str, ...]:
        """Names of the paths that are held against host networking."""
        return tuple(p.name for p in self.plan.paths if p.name not in {self.baseline, self.control})

    @property
    def main_arm(self) -> Arm:
        """The arm whose verdicts decide when a run has ended."""
        return self.plan.arms[0]

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Read what `dataclasses.asdict` made."""
        return cls(**{**plain, "plan": Plan.from_plain(plain["plan"])})


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it was measured."""

    setup: Setup
    rounds_planned: int
    """How many rounds the budget has room for, as far as is known."""
    absent: tuple[Absence, ...] = ()
    """Paths that a lab cannot have."""
    facts: tuple[Fact, ...] = ()
    gates: tuple[Gate, ...] = ()
    """Those decided while it ran."""
    observations: tuple[Observation, ...] = ()

    @property
    def rounds(self) -> tuple[tuple[Observation, ...], ...]:
        """The blocks of each round that ran to its end, in order."""
        blocks: defaultdict[int, list[Observation]] = defaultdict(list)
        for observation in self.observations:
            blocks[observation.round].append(observation)
        whole = len(self.setup.plan.paths) * len(self.setup.plan.arms)
        return tuple(tuple(blocks[number]) for number in sorted(blocks) if len(blocks[number]) == whole)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One path held against host networking in one measure with one arm."""

    measure: str
    arm: Arm
    path: str
    value: float
    """Geometric mean over the rounds that count; nan without any."""
    host_value: float
    """The same for host networking, in the same rounds."""
    verdict: Verdict
    words: str
    withheld: bool
    """Whether the A/A control forbids a verdict."""

    @property
    def mark(self) -> Mark:
        """What it comes to, for whoever colours it."""
        return mark(self.verdict.word, withheld=self.withheld)


@dataclass(frozen=True, slots=True)
class Contrast:
    """One path held against host networking in one rate with one arm: as Comparison, but by difference."""

    measure: str
    arm: Arm
    path: str
    value: float
    """Mean over the rounds that count; nan without any."""
    host_value: float
    margin: float
    """A difference within ± this does not matter; nan where it is not known."""
    difference: Difference
    words: str
    withheld: bool

    @property
    def mark(self) -> Mark:
        """What it comes to, for whoever colours it."""
        return mark(self.difference.word, withheld=self.withheld)


def mark(word: Word, *, withheld: bool = False) -> Mark:
    """Say what a verdict comes to, for whoever colours it."""
    if withheld or word == "unresolved":
        return "open"
    return "same" if word == "equivalent" else "differs"


@dataclass(frozen=True, slots=True)
class Summary:
    """What one path did with one arm, in all blocks that count."""

    path: str
    arm: Arm
    blocks: int
    voided: int
    requests: int
    """Of all blocks, voided ones and those of a broken-off round included; like `failures`."""
    failures: int
    bases_per_s: float
    samples_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    shares_ms: dict[str, float]
    """Mean time of an answer, by where it went."""


@dataclass(frozen=True, slots=True)
class Results:
    """What follows from a run."""

    comparisons: tuple[Comparison, ...]
    controls: tuple[Comparison, ...]
    """The A/A control: host networking against itself, in every measure with every arm."""
    contrasts: tuple[Contrast, ...]
    """Of the rates; empty for those that were not measured."""
    control_contrasts: tuple[Contrast, ...]
    noises: tuple[Noise, ...]
    """In bases/s, of every arm."""
    summaries: tuple[Summary, ...]
    headrooms: tuple[Headroom, ...]
    line_limits: tuple[LineLimit, ...]
    """The line that was given first, where one was."""
    expected_limits: tuple[ExpectedLimit, ...]
    gates: tuple[Gate, ...]
    conflicts: tuple[Conflict, ...]

    def of(self, measure: Measure, arm: Arm) -> tuple[Comparison, ...]:
        """Return the comparisons of one measure with one arm, in the order of the paths."""
        return tuple(c for c in self.comparisons if c.measure == measure.name and c.arm == arm)

    def contrasts_of(self, rate: Rate, arm: Arm) -> tuple[Contrast, ...]:
        """Return the contrasts of one rate with one arm, in the order of the paths."""
        return tuple(c for c in self.contrasts if c.measure == rate.name and c.arm == arm)

    def control(self, measure: Measure, arm: Arm) -> Comparison:
        """Return the A/A control of one measure with one arm."""
        return next(c for c in self.controls if c.measure == measure.name and c.arm == arm)


def save(run: Run, results: Results, folder: File) -> None:
    """Write results.json, whole or not at all; numbers that are not finite become null. The blocks are in the
    folder already."""
    inputs = {name: value for name, value in asdict(run).items() if name != "observations"}
    plain = {"schema": SCHEMA, "run": inputs, "results": asdict(results)}
    part = folder / f"{RESULTS}.part"
    part.write_bytes(orjson.dumps(plain, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))
    part.replace(folder / RESULTS)


def drop_cut_line(blocks: File) -> None:
    """Take away what a writer that was killed left of its last line, so that the next begins its own."""
    with blocks.open("r+b") as stream:
        whole = stream.read().rfind(b"\n") + 1
        stream.truncate(whole)


def load(folder: File) -> Run:
    """Read the run in a folder of results. Raises ResultsError."""
    try:
        plain = orjson.loads((folder / RESULTS).read_bytes())
        if plain["schema"] != SCHEMA:
            raise ResultsError(f"{folder / RESULTS} has schema {plain['schema']}, not {SCHEMA}")
        inputs = plain["run"]
        blocks = folder / BLOCKS
        return Run(
            setup=Setup.from_plain(inputs["setup"]),
            rounds_planned=inputs["rounds_planned"],
            facts=tuple(Fact(**fact) for fact in inputs["facts"]),
            gates=tuple(Gate(**gate) for gate in inputs["gates"]),
            absent=tuple(Absence(**absent) for absent in inputs["absent"]),
            observations=tuple(read_observations(blocks)) if blocks.exists() else (),
        )
    except OSError as error:
        raise ResultsError(f"{folder} holds no results: {error}") from error
    except (orjson.JSONDecodeError, LookupError, TypeError) as error:
        raise ResultsError(f"{folder / RESULTS} is not what fiveways writes: {error!r}") from error
