"""What follows from others' repeats, for people: a page, tables as CSV and JSON, and a table for a terminal.

Writes only to the folder it is given.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path as File

import orjson
from markupsafe import Markup
from rich.box import SIMPLE
from rich.table import Table

from loadgen import plots
from loadgen.page import render_page, verdict_cells
from loadgen.reanalysis import Reanalysis
from loadgen.repeats import Repeat
from loadgen.tables import flat, write_table
from loadgen.verdict import ERROR_RATE

PAGE = "report.html"
RESULTS = "reanalysis.json"
SCHEMA = 1
"""Version of reanalysis.json."""


def chance_sentence(reanalysis: Reanalysis) -> str:
    """Say how many intervals leave out 1 by themselves, and how many would by chance."""
    if not reanalysis.comparable:
        return "No path was measured twice or more, so that nothing can be said."
    corrected = sum(reading.verdict.word in {"higher", "lower"} for reading in reanalysis.readings)
    alone = f"{reanalysis.alone_differ} {'has' if reanalysis.alone_differ == 1 else 'have'}"
    return (
        f"Of {reanalysis.comparable} comparisons {alone} a {1 - ERROR_RATE:.0%} interval without 1 when taken"
        " alone;"
        f" where nothing differs, chance gives {reanalysis.differ_by_chance:.1f} on average."
        f" Held to one error rate, {corrected or 'none'} {'differs' if corrected == 1 else 'differ'}."
    )


def reading_table(reanalysis: Reanalysis) -> Table:
    """Return every reading as a table for a terminal."""
    table = Table(title=f"against {reanalysis.baseline}", box=SIMPLE, title_justify="left")
    for name in ("system", "path"):
        table.add_column(name, overflow="fold")
    for name in ("value", "ratio"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("interval", no_wrap=True)
    table.add_column("verdict", min_width=24)
    for row in reanalysis.readings:
        table.add_row(row.system, row.path, *verdict_cells(row.value, row.verdict, row.words))
    return table


def render_reanalysis(reanalysis: Reanalysis, repeats: Sequence[Repeat], source: str) -> str:
    """Return the page of a reanalysis of the file `source`."""
    axis = f"difference to {reanalysis.baseline}, %"
    rows = {reading.name: reading for reading in reanalysis.readings}
    forest = plots.forest("Ratios to the baseline with intervals", rows, reanalysis.delta, axis)
    systems = dict.fromkeys(repeat.system for repeat in repeats)
    orders = {
        system: plots.values_in_order(f"Values of {system}", [r for r in repeats if r.system == system])
        for system in systems
    }
    # Made by this program, from numbers and escaped names.
    return render_page(
        "reanalysis.html",
        reanalysis=reanalysis,
        repeats=repeats,
        source=source,
        chance=chance_sentence(reanalysis),
        forest=Markup(forest),  # noqa: S704
        orders={system: Markup(svg) for system, svg in orders.items()},  # noqa: S704
    )


def write_reanalysis(
    reanalysis: Reanalysis, repeats: Sequence[Repeat], source: str, folder: File
) -> tuple[File, bytes]:
    """Write page, tables and reanalysis.json to `folder`; return the page, and what the JSON file says."""
    rows = [
        {
            **{
                name: getattr(reading, name)
                for name in ("system", "path", "design", "value", "baseline_value")
            },
            **asdict(reading.verdict),
            "words": reading.words,
            "alone_low": reading.alone.low,
            "alone_high": reading.alone.high,
        }
        for reading in reanalysis.readings
    ]
    write_table(rows, folder / "verdicts.csv")
    write_table(list(flat(*reanalysis.gates)), folder / "gates.csv")
    plain = {
        "schema": SCHEMA,
        "source": source,
        **asdict(reanalysis),
        "comparable": reanalysis.comparable,
        "alone_differ": reanalysis.alone_differ,
        "differ_by_chance": reanalysis.differ_by_chance,
        "repeats": [asdict(repeat) for repeat in repeats],
    }
    said = orjson.dumps(plain, option=orjson.OPT_INDENT_2)
    (folder / RESULTS).write_bytes(said)
    page = folder / PAGE
    page.write_text(render_reanalysis(reanalysis, repeats, source), encoding="utf-8")
    return page, said
