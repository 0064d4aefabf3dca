"""A run's results for people: a page with its pictures, tables as CSV, and tables for a terminal.

Knows no processes; writes only to the folder it is given.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path as File

import orjson
from markupsafe import Markup
from rich.box import SIMPLE
from rich.table import Table

from loadgen import plots
from loadgen.analysis import analyse
from loadgen.facts import Fact
from loadgen.measure import BASES, MEASURES, RATES
from loadgen.page import render_page, verdict_cells
from loadgen.plan import Arm
from loadgen.results import SCHEMA, Comparison, Contrast, Results, Run
from loadgen.tables import flat, settings, write_table, write_tables
from loadgen.together import put_together

PAGE = "report.html"
TOGETHER = "together"
"""What the table and the JSON file of several runs are called."""
TITLES = {measure.name: measure.title for measure in (*MEASURES, *RATES)}


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
    sections = [_section(name, run) for name, run in runs.items()]
    return render_page(
        PAGE,
        sections=sections,
        together_rows=lambda group: _rows_by_path([s for s in sections if s.name in group]),
        together=put_together(runs) if len(runs) > 1 else None,
        measures=MEASURES,
        rates=RATES,
        summarise=summarise,
    )


def _section(name: str, run: Run) -> Section:
    results = analyse(run)
    pictures = {}
    for arm in run.setup.plan.arms:
        pictures["forest", str(arm)] = plots.forest_of_arm(run, results, arm)
        pictures["over_time", arm] = plots.over_time(run, arm)
        pictures["latencies", arm] = plots.latencies(run, arm)
        pictures["stages", arm] = plots.stages(results, arm)
        pictures["cpu", arm] = plots.cpu(results, arm)
    pictures["ceilings", ""] = plots.ceilings(results)
    # Made by this program, from numbers and escaped names.
    marked = {key: Markup(svg) for key, svg in pictures.items()}  # noqa: S704
    facts = sorted(run.facts, key=lambda fact: (fact.path is not None, fact.name if fact.path else ""))
    return Section(name, run, results, marked, facts, tuple(settings(run)))


def _rows_by_path(sections: Sequence[Section]) -> dict[str, list[tuple[str, str, Comparison]]]:
    """Return what decides of each path, of every run that has it, with the run and its kind."""
    rows: dict[str, list[tuple[str, str, Comparison]]] = {}
    for section in sections:
        for row in section.results.of(BASES, section.run.setup.main_arm):
            rows.setdefault(row.path, []).append((section.name, section.run.setup.kind, row))
    return rows


def summarise(comparisons: Iterable[Comparison], arm: Arm) -> str:
    """Say in a sentence or two what the verdicts of an arm come to."""
    rows = [c for c in comparisons if c.measure == BASES.name and c.arm == arm]
    if any(row.withheld for row in rows):
        return "Host networking differed from itself, so that no verdict is given."
    buckets = {
        "equivalent to host networking": [r.path for r in rows if r.verdict.word == "equivalent"],
        "faster": [r.path for r in rows if r.verdict.word == "higher"],
        "slower": [r.path for r in rows if r.verdict.word == "lower"],
        "not resolved": [r.path for r in rows if r.verdict.word == "unresolved"],
    }
    if len(rows) > 1 and len(buckets["not resolved"]) == len(rows):
        return f"None of the {len(rows)} paths is resolved."
    said = [
        f"{len(names)} {'is' if len(names) == 1 else 'are'} {words} ({', '.join(names)})"
        for words, names in buckets.items()
        if names
    ]
    return f"Of {len(rows)} path{'s' if len(rows) != 1 else ''}, {'; '.join(said)}." if rows else ""


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
        table.add_row(row.path, *verdict_cells(row.value, row.verdict, row.words))
    return table


def other_differences(results: Results, arm: Arm) -> Iterator[str]:
    """Yield a line for each path and measure but bases/s that differs from host networking."""
    rows: tuple[Comparison | Contrast, ...] = (*results.comparisons, *results.contrasts)
    for row in rows:
        if row.arm == arm and row.measure != BASES.name and row.mark == "differs":
            yield f"{row.path}: {TITLES[row.measure]} {row.words}"


def write_report(run: Run, results: Results, folder: File) -> File:
    """Write the page and the tables of a run to `folder`, and return the page."""
    write_tables(run, results, folder)
    page = folder / PAGE
    page.write_text(render({folder.resolve().name: run}), encoding="utf-8")
    return page


def write_together(runs: Mapping[str, Run], folder: File) -> tuple[File, bytes]:
    """Write the page, the table and the JSON file of several runs, given by name, to `folder`; return the
    page, and what the JSON file says."""
    folder.mkdir(parents=True, exist_ok=True)
    together = put_together(runs)
    found = {name: analyse(run) for name, run in runs.items()}
    rows = [
        {"run": name, "kind": runs[name].setup.kind, **row}
        for name, results in found.items()
        for row in flat(*results.comparisons, *results.contrasts)
    ]
    write_table(rows, folder / f"{TOGETHER}.csv")
    plain = {
        "schema": SCHEMA,
        "together": {**asdict(together), "sentences": list(together.sentences())},
        "runs": {name: asdict(results) for name, results in found.items()},
    }
    said = orjson.dumps(plain, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
    (folder / f"{TOGETHER}.json").write_bytes(said)
    page = folder / PAGE
    page.write_text(render(runs), encoding="utf-8")
    return page, said
