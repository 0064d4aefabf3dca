"""Pages for people: one HTML file that needs nothing else, no script either, and how numbers are written."""

import importlib.metadata
import math
from datetime import UTC, datetime
from pathlib import Path as File
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from loadgen.results import Comparison, Contrast
from loadgen.verdict import Verdict

WIDEST_RATIO = 100.0
"""Intervals that reach beyond it are not written out."""


def render_page(template: str, **values: Any) -> str:
    """Return the page that a template of this room makes of `values`."""
    environment = Environment(
        loader=FileSystemLoader(File(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        alone=_verdict_alone,
        beside=format_beside,
        factor=format_factor,
        gpus=lambda count: f"{count} GPU{'s' if count > 1 else ''}",
        interval=format_interval,
        moment=_moment,
        number=format_number,
        percent=format_percent,
        ratio=format_ratio,
        unbroken=_unbroken,
    )
    version = importlib.metadata.version("fiveways")
    return environment.get_template(template).render(version=version, **values)


def _unbroken(words: str) -> str:
    """Keep numbers with their units, and the ends of an interval, on one line."""
    return words.replace(" %", "\N{NO-BREAK SPACE}%").replace(", ", ",\N{NO-BREAK SPACE}")


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def format_number(value: float | None) -> str:
    """Return a number with three digits that count or more, or a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")


def format_percent(share: float) -> str:
    """Return a share in percent, or a dash where there is none."""
    return f"{100 * share:.2g} %" if math.isfinite(share) else "–"


def format_ratio(value: float) -> str:
    """Return a ratio to host networking, or a dash where there is none."""
    return f"{value:.4f}" if math.isfinite(value) else "–"


def format_factor(value: float) -> str:
    """Return a factor, such as a headroom; ∞ where nothing bounds it."""
    if math.isnan(value):
        return "–"
    return "∞" if math.isinf(value) else f"{value:,.0f}×" if value >= 1000 else f"{value:.3g}×"


def format_interval(verdict: Verdict) -> str:
    """Return the interval of a ratio, or a dash where it is too wide to say anything."""
    if verdict.high > WIDEST_RATIO:
        return "–"
    return f"[{verdict.low:.4f}, {verdict.high:.4f}]"


def verdict_cells(value: float | None, verdict: Verdict, words: str) -> tuple[str, str, str, str]:
    """Return a row's end in a table of verdicts: its value, the ratio, its interval, and what they say."""
    return format_number(value), format_ratio(verdict.ratio), format_interval(verdict), words


def format_beside(row: Comparison | Contrast) -> str:
    """Return how a row is to host networking, with the interval: a ratio, or a difference with its sign."""
    if isinstance(row, Contrast):
        found = row.difference
        bounded = math.isfinite(found.low) and math.isfinite(found.high)
        text = f"{found.estimate:+.2g} [{found.low:+.2g}, {found.high:+.2g}]" if bounded else "–"
        return text.replace("-", "\N{MINUS SIGN}")
    verdict = row.verdict
    if not math.isfinite(verdict.ratio):
        return "–"
    ends = f" [{verdict.low:.3f}, {verdict.high:.3f}]" if verdict.high <= WIDEST_RATIO else ""
    return f"{verdict.ratio:.3f}×{ends}"


def _verdict_alone(row: Comparison | Contrast) -> str:
    """Return the words of a row without the numbers that stand beside them."""
    if row.withheld:
        return row.words
    return row.words.partition(";")[0].partition(" by ")[0]
