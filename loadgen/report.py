"""A run's results for people: an HTML page that needs nothing else, tables as CSV, and a table for terminals.

The page is `report.html` with the pictures of `loadgen.plots` inside. Knows no processes; writes only to the
folder it is given.
"""

import csv
import importlib.metadata
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path as File
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from rich.box import SIMPLE
from rich.table import Table

from loadgen import plots
from loadgen.analysis import analyse
from loadgen.facts import Fact
from loadgen.measure import BASES, MEASURES
from loadgen.observation import Observation
from loadgen.plan import Arm
from loadgen.results import Comparison, Results, Run
from loadgen.verdict import Verdict

PAGE = "report.html"
WIDEST_RATIO = 100.0
"""Intervals that reach beyond it are not written out."""


@dataclass(frozen=True, slots=True)
class Section:
    """What the page shows of one run."""

    name: str
    run: Run
    results: Results
    pictures: Mapping[tuple[str, str], Markup]
    """SVG elements by picture and arm; the arm is empty for pictures of both."""
    facts: Sequence[Fact]
    """Those of the whole run first, then those of paths, by name, so that paths can be compared."""
    settings: Sequence[tuple[str, str]]


def render(runs: Mapping[str, Run]) -> str:
    """Return the page of one or more runs, given by name."""
    environment = Environment(
        loader=FileSystemLoader(File(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        factor=format_factor,
        gpus=lambda count: f"{count} GPU{'s' if count > 1 else ''}, each",
        interval=format_interval,
        moment=_moment,
        number=format_number,
        ratio=format_ratio,
        summary=summarise,
        unbroken=_unbroken,
    )
    return environment.get_template(PAGE).render(
        sections=[_section(name, run) for name, run in runs.items()],
        measures=MEASURES,
        version=importlib.metadata.version("fiveways"),
    )


def _section(name: str, run: Run) -> Section:
    results = analyse(run)
    pictures = {}
    for arm in run.setup.plan.arms:
        pictures["forest", str(arm)] = plots.forest(run, results, arm)
        pictures["over_time", arm] = plots.over_time(run, arm)
        pictures["latencies", arm] = plots.latencies(run, arm)
        pictures["stages", arm] = plots.stages(results, arm)
        pictures["cpu", arm] = plots.cpu(results, arm)
    pictures["ceilings", ""] = plots.ceilings(results)
    # Made by this program, from numbers and escaped names.
    marked = {key: Markup(svg) for key, svg in pictures.items()}  # noqa: S704
    facts = sorted(run.facts, key=lambda fact: (fact.path is not None, fact.name if fact.path else ""))
    return Section(name, run, results, marked, facts, tuple(_settings(run)))


def _settings(run: Run) -> Iterable[tuple[str, str]]:
    """Yield every setting of a run but its paths, nested ones by dotted names."""
    plain = asdict(run.setup)
    plain["plan"].pop("paths")
    yield from _flat(plain, "")


def _flat(plain: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, str]]:
    for name, value in plain.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield (
                f"{prefix}{name}",
                ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value),
            )


def summarise(comparisons: Iterable[Comparison], arm: Arm) -> str:
    """Say in a sentence or two what the verdicts of an arm come to."""
    rows = [c for c in comparisons if c.measure == BASES.name and c.arm == arm]
    if any(row.withheld for row in rows):
        return "Host networking differed from itself, so that no verdict is given."
    said = []
    for words, names in (
        ("equivalent to host networking", [r.path for r in rows if r.verdict.word == "equivalent"]),
        ("faster", [r.path for r in rows if r.verdict.word == "higher"]),
        ("slower", [r.path for r in rows if r.verdict.word == "lower"]),
        ("not resolved", [r.path for r in rows if r.verdict.word == "unresolved"]),
    ):
        if names:
            said.append(f"{len(names)} {'is' if len(names) == 1 else 'are'} {words} ({', '.join(names)})")
    return f"Of {len(rows)} path{'s' if len(rows) != 1 else ''}, {'; '.join(said)}." if rows else ""


def _unbroken(words: str) -> str:
    """Keep numbers with their units, and the ends of an interval, on one line."""
    return words.replace(" %", "\N{NO-BREAK SPACE}%").replace(", ", ",\N{NO-BREAK SPACE}")


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def format_number(value: float | None) -> str:
    """Return a number with three digits that count or more, or a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def format_ratio(value: float) -> str:
    """Return a ratio to host networking, or a dash where there is none."""
    return f"{value:.4f}" if math.isfinite(value) else "–"


def format_factor(value: float) -> str:
    """Return a factor, such as a headroom; ∞ where nothing bounds it."""
    return f"{value:.3g}×" if math.isfinite(value) else "∞" if math.isinf(value) else "–"


def format_interval(verdict: Verdict) -> str:
    """Return the interval of a ratio, or a dash where it is too wide to say anything."""
    if verdict.high > WIDEST_RATIO:
        return "–"
    return f"[{verdict.low:.4f}, {verdict.high:.4f}]"


def verdict_table(run: Run, results: Results, arm: Arm) -> Table:
    """Return the verdicts of an arm, and its A/A control, as a table for a terminal."""
    rounds = len(run.rounds)
    title = f"{run.setup.kind}, {arm} arm, {rounds} round{'s' if rounds != 1 else ''}"
    table = Table(title=title, box=SIMPLE, title_justify="left")
    table.add_column("path", no_wrap=True)
    for name in ("bases/s", "ratio"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("interval", no_wrap=True)
    table.add_column("verdict", min_width=24)
    for row in (*results.of(BASES, arm), results.control(BASES, arm)):
        table.add_row(
            row.path,
            format_number(row.value),
            format_ratio(row.verdict.ratio),
            format_interval(row.verdict),
            row.words,
        )
    return table


def write_report(run: Run, results: Results, folder: File) -> File:
    """Write the page and the tables of a run to `folder`, and return the page."""
    _write_csv(folder / "verdicts.csv", [_flat_row(c) for c in (*results.comparisons, *results.controls)])
    _write_csv(folder / "paths.csv", [_flat_row(summary) for summary in results.summaries])
    _write_csv(folder / "headroom.csv", [_flat_row(headroom) for headroom in results.headrooms])
    _write_csv(folder / "gates.csv", [_flat_row(gate) for gate in results.gates])
    _write_csv(folder / "facts.csv", [_flat_row(fact) for fact in run.facts])
    _write_csv(folder / "blocks.csv", [_block_row(observation) for observation in run.observations])
    page = folder / PAGE
    page.write_text(render({folder.resolve().name: run}), encoding="utf-8")
    return page


def _flat_row(item: Any) -> dict[str, Any]:
    """Return a dataclass as one row; the fields of the dataclasses within come beside its own."""
    row: dict[str, Any] = {}
    for name, value in asdict(item).items():
        row.update(value if isinstance(value, dict) else {name: value})
    return row


def _block_row(observation: Observation) -> dict[str, Any]:
    values = {measure.name: measure.of(observation) for measure in MEASURES}
    return {
        "round": observation.round,
        "position": observation.position,
        "path": observation.path,
        "arm": observation.arm,
        "started_s": observation.started_s,
        "window_s": observation.window_s,
        "samples_per_s": observation.samples_per_s,
        **values,
        "requests": observation.total.requests,
        "failures": observation.total.failures,
        "voids": "; ".join(observation.voids),
    }


def _write_csv(file: File, rows: Sequence[Mapping[str, Any]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, names)
        writer.writeheader()
        writer.writerows(rows)
