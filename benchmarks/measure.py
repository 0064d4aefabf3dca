"""What every benchmark does with what it measures: arms in rounds, their spread, tables, a record.

Figures are of one run on one machine: each round runs every arm once, in random order, so that whatever else
the machine does falls on all of them. What was not measured is None, and is shown as nothing.
"""

import json
import math
import os
import platform
import random
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import typer
from rich.console import Console
from rich.table import Table

Measured = TypeVar("Measured")
KEPT_AT = "FIVEWAYS_BENCHMARK_RECORD"
"""Where this variable names a file, a record is kept in it as it grows: it may end before its end."""
Cell = str | float | int | None

console = Console(stderr=True)
if not console.is_terminal:
    # Nobody's window: long enough for every table.
    console.width = 150


@dataclass(frozen=True, slots=True)
class Timing:
    """What some work took: its amount in its own unit, time on the clock, the process's processor time."""

    amount: float
    wall_s: float
    cpu_s: float

    @property
    def per_s(self) -> float:
        """The amount done in a second."""
        return self.amount / self.wall_s

    @property
    def per_cpu_s(self) -> float:
        """The amount done in a second of one core's time: what a busy machine disturbs least."""
        return self.amount / self.cpu_s if self.cpu_s else math.nan


@dataclass(frozen=True, slots=True)
class Spread:
    """Repeated values: their median, least and greatest, and how many there are."""

    median: float
    least: float
    greatest: float
    count: int


@dataclass(frozen=True, slots=True)
class Section:
    """A table of the record. `note` says what must be known to read it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A value beside what it should be; `met` is None where that is nothing, or was not measured."""

    name: str
    value: float | int | str | None
    aim: str = ""
    met: bool | None = None


@dataclass(slots=True)
class Record:
    """All that one benchmark found."""

    benchmark: str
    settings: dict[str, Any]
    machine: dict[str, Any]
    sections: list[Section] = field(default_factory=list)
    aims: list[Finding] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    """The same by name, for plots and for other benchmarks."""

    def add(self, section: Section) -> None:
        """Keep a table, and show it."""
        self.sections.append(section)
        show(section)
        self.keep()

    def keep(self) -> None:
        """Write what there is so far, where somebody asked for it."""
        if path := os.environ.get(KEPT_AT):
            Path(path).write_text(self._json())

    @property
    def failed(self) -> bool:
        """Whether an aim was missed."""
        return any(finding.met is False for finding in self.aims)

    def finish(self) -> None:
        """Show the aims, and print the record as the last line of stdout."""
        if self.aims:
            show(aims_section(self.aims))
        print(self._json(), flush=True)

    def _json(self) -> str:
        return json.dumps(asdict(self), allow_nan=False)


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of at least one value."""
    return Spread(statistics.median(values), min(values), max(values), len(values))


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that `percent` of at least one are not above (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(percent / 100 * len(ranked)) - 1)]


def timed(work: Callable[[], float], least_s: float) -> Timing:
    """Do `work`, which returns its amount, at least once and until `least_s` are over."""
    amount, began_s, cpu_s = 0.0, time.perf_counter(), time.process_time()
    while True:
        amount += work()
        wall_s = time.perf_counter() - began_s
        if wall_s >= least_s:
            return Timing(amount, wall_s, time.process_time() - cpu_s)


def interleave(
    arms: Mapping[str, Callable[[], Measured]], rounds: int, *, seed: int = 1
) -> dict[str, list[Measured]]:
    """Return what each arm measured, a value a round; within a round the order is drawn anew."""
    rng = random.Random(seed)
    found: dict[str, list[Measured]] = {name: [] for name in arms}
    for number in range(rounds):
        order = list(arms)
        rng.shuffle(order)
        for name in order:
            say(f"round {number + 1} of {rounds}: {name}")
            found[name].append(arms[name]())
    return found


def at_least(name: str, value: float | None, least: float) -> Finding:
    """Return an aim that is met from `least` on."""
    return Finding(name, value, f">= {least:g}", None if value is None else value >= least)


def at_most(name: str, value: float | None, most: float) -> Finding:
    """Return an aim that is met up to `most`."""
    return Finding(name, value, f"<= {most:g}", None if value is None else value <= most)


def ratio(above: float | None, below: float | None) -> float | None:
    """Return above / below; None where either was not measured."""
    return above / below if above is not None and below else None


def machine() -> dict[str, Any]:
    """Return what figures depend on; `load` is that of the last minute, before the benchmark began."""
    cores = len(psutil.Process().cpu_affinity()) if sys.platform == "linux" else psutil.cpu_count()
    return {
        "processor": _processor(),
        "cores": cores,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": round(psutil.getloadavg()[0], 2),
        "measured": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def chosen(only: str, names: Sequence[str]) -> list[str]:
    """Return which of `names` the option --only says, with commas between: all, where it says none. Raises
    BadParameter."""
    wanted = only.split(",") if only else list(names)
    if unknown := [name for name in wanted if name not in names]:
        raise typer.BadParameter(f"--only: {', '.join(unknown)} is none of {', '.join(names)}")
    return wanted


def end_in_order() -> None:
    """Let SIGTERM end this process as an exception does, so that nothing it started outlives it."""

    def leave(number: int, frame: object) -> None:  # noqa: ARG001 - a handler's signature
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let nothing interrupt the block, which has bounds of its own: of what it ends, nothing is left."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def aims_section(aims: Sequence[Finding]) -> Section:
    """Return the aims as a table."""
    said = {None: "", True: "yes", False: "NO"}
    return Section(
        "Aims",
        ("what", "value", "aim", "met"),
        tuple((aim.name, aim.value, aim.aim, said[aim.met]) for aim in aims),
    )


def say(words: str) -> None:
    """Show what is being done, on a terminal only."""
    if console.is_terminal:
        console.print(words, style="dim")


def show(section: Section) -> None:
    """Show a table on stderr."""
    table = Table(title=section.title, title_justify="left", caption=section.note or None)
    table.caption_justify = "left"
    for number, name in enumerate(section.columns):
        table.add_column(name, justify="right" if number else "left")
    for row in section.rows:
        table.add_row(*map(text, row))
    console.print(table)


def markdown(section: Section) -> str:
    """Return a table as Markdown."""
    lines = [f"### {section.title}", "", "| " + " | ".join(section.columns) + " |"]
    lines.append("|" + "---|" + "---:|" * (len(section.columns) - 1))
    lines += ["| " + " | ".join(map(text, row)) + " |" for row in section.rows]
    return "\n".join([*lines, "", *([section.note, ""] if section.note else [])])


def text(cell: Cell) -> str:
    """Return a cell as people read it: three digits that count, and thousands apart."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int) or abs(cell) >= 1000:
        return f"{cell:,.0f}"
    return f"{cell:.3g}"


def _processor() -> str:
    try:
        said = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in said.splitlines() if line.startswith("model name")]
    flags = next((line.split() for line in said.splitlines() if line.startswith("flags")), [])
    known = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16") if flag in flags]
    return f"{names[0] if names else platform.machine()} ({', '.join(known) or 'no vector extension known'})"
