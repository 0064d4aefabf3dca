"""An evaluation for people: one HTML page that needs nothing else, and tables for a terminal."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from models import figures
from models.comparison import Comparison
from models.evaluation import Evaluation
from models.evaluation import figures as figures_of

PAGE = "evaluation.html"


def render(
    evaluations: Sequence[Evaluation], comparison: Comparison | None, conditions: Mapping[str, str]
) -> str:
    """Return the page; `conditions` says what was evaluated and how, by name."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pictures = [
        ("Identity", figures.identities(evaluations)),
        ("Honesty of the qualities", figures.qualities(evaluations)),
        ("Homopolymers", figures.homopolymers(evaluations)),
        ("Mean quality and identity", figures.read_qualities(evaluations)),
        ("Read by read", figures.pairs(evaluations)),
    ]
    return environment.get_template(PAGE).render(
        evaluations=evaluations,
        figures=[figures_of(one) for one in evaluations],
        comparison=comparison,
        conditions=conditions,
        # Made by this program, from numbers and escaped names.
        pictures=[(title, Markup(svg)) for title, svg in pictures if svg],  # noqa: S704
        version=importlib.metadata.version("fiveways"),
    )


def tables(evaluations: Sequence[Evaluation], comparison: Comparison | None) -> RenderableType:
    """Return the figures, a column a caller, then homopolymers and qualities, for a terminal."""
    names = [one.name for one in evaluations]
    parts: list[RenderableType] = [_table("Figures", "", names, _rows([figures_of(e) for e in evaluations]))]
    if comparison:
        parts.append(Text(f"  {comparison.words}\n"))
    runs = [
        {
            f"{row['length']:.0f}": f"{100 * row['wrong_share']:.1f} % of {row['runs']:,.0f}"
            for row in one.homopolymers
        }
        for one in evaluations
    ]
    qualities = [
        {f"Q{q.reported}": f"{q.empirical:.1f} [{q.low:.1f}, {q.high:.1f}]" for q in one.qualities}
        for one in evaluations
    ]
    for title, first, columns in (
        ("Homopolymers called wrongly", "length", runs),
        ("Empirical qualities", "reported", qualities),
    ):
        if any(columns):
            parts.append(_table(title, first, names, _rows(columns)))
    return Group(*parts)


def _rows(columns: Sequence[Mapping[str, str]]) -> list[list[str]]:
    """Return a row of cells for each name that any column has, in order of first sight and of number."""
    keys = list(dict.fromkeys(key for column in columns for key in column))
    if all(key.lstrip("Q").isdigit() for key in keys):
        keys.sort(key=lambda key: int(key.lstrip("Q")))
    return [[key, *(column.get(key, "–") for column in columns)] for key in keys]


def _table(title: str, first: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, box=SIMPLE, title_justify="left")
    table.add_column(first, no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
