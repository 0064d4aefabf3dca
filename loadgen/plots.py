"""The pictures of a report, as SVG to be put into a page: their colours are the page's, light or dark.

Drawn for a narrow screen and scaled up on wider ones; empty where there is nothing to draw. Everything shown
is in a table, too. Knows no files.
"""

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, Protocol

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadgen.analysis import clean_window
from loadgen.measure import BASES, CLIENT_CPU, SERVER_CPU, SOFTIRQ
from loadgen.plan import Arm
from loadgen.repeats import Repeat
from loadgen.results import SHARES, Comparison, Contrast, Mark, Results, Run
from loadgen.verdict import Verdict

WIDTH_IN = 5.0
"""At 72 points an inch as wide as the screen of a small telephone."""
ROW_IN = 0.3
"""Height of a path where paths are rows."""

_VARIABLES = ("ink", "faint", "band", "same", "differs", "open", *(f"series-{index}" for index in range(10)))
_COLOURS = {name: f"#0102{index:02x}" for index, name in enumerate(_VARIABLES)}
"""What matplotlib takes for colours, each to be turned into the variable of that name of the page's style."""
_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": _COLOURS["faint"],
    "axes.facecolor": "none",
    "axes.labelcolor": _COLOURS["ink"],
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "grid.color": _COLOURS["faint"],
    "grid.alpha": 0.35,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "text.color": _COLOURS["ink"],
    "xtick.color": _COLOURS["ink"],
    "ytick.color": _COLOURS["ink"],
}


class Judged(Protocol):
    """Something with a verdict, which a forest plot has a row for."""

    @property
    def verdict(self) -> Verdict:
        """What is drawn."""

    @property
    def mark(self) -> Mark:
        """In which colour."""


def forest_of_arm(run: Run, results: Results, arm: Arm) -> str:
    """Draw the ratios to host networking in bases/s, the A/A control's last."""
    compared = (*results.of(BASES, arm), results.control(BASES, arm))
    rows = {c.path: c for c in compared}
    title = f"Ratio to host networking with intervals, {arm} arm"
    return forest(title, rows, run.setup.delta, "difference to host networking in bases/s, %")


def forest(title: str, judged: Mapping[str, Judged], delta: float, axis: str) -> str:
    """Draw ratios by name with their intervals, and the band of ±delta that does not matter."""
    rows = {name: row for name, row in judged.items() if row.verdict.rounds}
    if not rows:
        return ""
    verdicts = [row.verdict for row in rows.values()]
    percent = 100 * (np.array([[v.low, v.ratio, v.high] for v in verdicts]) - 1)
    delta = 100 * delta
    low, centre, high = np.abs(percent).max(axis=0)
    # Intervals that are still wide run out of the picture rather than squeeze the others.
    limit = max(2 * delta, 1.1 * min(max(low, high), max(10.0, 4 * delta, 2 * centre)))

    def paint(axes: Axes) -> None:
        axes.axvspan(-delta, delta, color=_COLOURS["band"], lw=0)
        axes.axvline(0, color=_COLOURS["ink"], lw=0.8)
        for row, (judged_row, (low, centre, high)) in enumerate(zip(rows.values(), percent, strict=True)):
            colour = _COLOURS[judged_row.mark]
            axes.plot([max(low, -limit), min(high, limit)], [row, row], color=colour, lw=2)
            axes.plot([centre], [row], "o", color=colour, ms=5)
            for beyond, side, arrow in ((low < -limit, -1, "<"), (high > limit, 1, ">")):
                if beyond:
                    axes.plot([0.98 * side * limit], [row], arrow, color=colour, ms=6)
        _rows(axes, list(rows))
        axes.set_xlim(-limit, limit)
        axes.grid(axis="x")
        axes.set_xlabel(axis)

    return _draw(title, len(rows), paint)


def over_time(run: Run, arm: Arm) -> str:
    """Draw the bases/s of every block over the minutes of the run; voided blocks are crosses."""
    if not any(o.arm == arm for o in run.observations):
        return ""

    def paint(axes: Axes) -> None:
        for index, path in enumerate(run.setup.plan.paths):
            blocks = [o for o in run.observations if (o.path, o.arm) == (path.name, arm)]
            minutes = np.array([(o.started_s - run.setup.started_s) / 60 for o in blocks])
            speeds = np.array([o.bases_per_s for o in blocks])
            void = np.array([bool(o.voids) for o in blocks], dtype=bool)
            colour = _series(index)
            axes.plot(minutes[~void], speeds[~void], "o-", color=colour, ms=3, lw=1, label=path.name)
            axes.plot(minutes[void], speeds[void], "x", color=colour, ms=5)
        axes.set_xlabel("minutes since the start")
        axes.set_ylabel("bases/s")
        axes.yaxis.set_major_formatter(mpl.ticker.EngFormatter())
        axes.grid(axis="y")

    return _draw(f"Bases per second of each block, {arm} arm", 8, paint, legend=True)


def latencies(run: Run, arm: Arm) -> str:
    """Draw what share of the answers took at most so long."""
    shares = np.linspace(0.0, 1.0, 201)
    answered = {path.name: clean_window(run, path.name, arm).latency for path in run.setup.plan.paths}
    if not any(map(len, answered.values())):
        return ""

    def paint(axes: Axes) -> None:
        for index, (name, latency) in enumerate(answered.items()):
            if len(latency):
                quantiles = [latency.quantile_ms(share) or 0.0 for share in shares]
                axes.plot(quantiles, 100 * shares, color=_series(index), lw=1.4, label=name)
        axes.set_xscale("log")
        axes.set_xlabel("latency, ms")
        axes.set_ylabel("answers, %")
        axes.xaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
        axes.xaxis.set_minor_locator(mpl.ticker.NullLocator())
        axes.grid()

    return _draw(f"Latency distributions, {arm} arm", 8, paint, legend=True)


def stages(results: Results, arm: Arm) -> str:
    """Draw where the time of a mean answer went."""
    rows = [summary for summary in results.summaries if summary.arm == arm and summary.shares_ms]
    if not rows:
        return ""

    def paint(axes: Axes) -> None:
        left = np.zeros(len(rows))
        for index, share in enumerate(SHARES):
            widths = np.array([summary.shares_ms[share] for summary in rows])
            axes.barh(range(len(rows)), widths, left=left, height=0.7, color=_series(index), label=share)
            left += widths
        _rows(axes, [summary.path for summary in rows])
        axes.set_xlabel("mean answer, ms")
        axes.grid(axis="x")

    return _draw(f"Where the time of an answer goes, {arm} arm", len(rows) + 2, paint, legend=True)


def cpu(results: Results, arm: Arm) -> str:
    """Draw the CPU seconds that a megabase costs on both ends and, where that is known, in softirqs."""
    ends: dict[str, Sequence[Comparison | Contrast]] = {
        "client": results.of(CLIENT_CPU, arm),
        "server": results.of(SERVER_CPU, arm),
        "kernel softirq": results.contrasts_of(SOFTIRQ, arm),
    }
    ends = {end: rows for end, rows in ends.items() if any(math.isfinite(row.value) for row in rows)}
    names = [row.path for row in results.of(CLIENT_CPU, arm)]
    if not ends:
        return ""
    width = 0.8 / len(ends)

    def paint(axes: Axes) -> None:
        for index, (end, rows) in enumerate(ends.items()):
            places = np.arange(len(names)) + (index - (len(ends) - 1) / 2) * width
            axes.barh(
                places, [row.value for row in rows], height=0.9 * width, color=_series(index), label=end
            )
            for place, row in zip(places, rows, strict=True):
                across = [place - width / 2, place + width / 2]
                axes.plot([row.host_value] * 2, across, color=_COLOURS["ink"], lw=1.2)
        _rows(axes, names)
        axes.set_xlabel("CPU seconds a megabase")
        axes.grid(axis="x")

    return _draw(
        f"CPU seconds per megabase, {arm} arm", (0.4 + 0.45 * len(ends)) * len(names) + 2, paint, legend=True
    )


def ceilings(results: Results) -> str:
    """Draw for each path what it reached with a network evaluated, and what it would carry."""
    rows = [headroom for headroom in results.headrooms if math.isfinite(headroom.factor)]
    if not rows:
        return ""

    def paint(axes: Axes) -> None:
        places = range(len(rows))
        reach = [headroom.ceiling_bases_per_s for headroom in rows]
        now = [headroom.ceiling_bases_per_s / headroom.factor for headroom in rows]
        axes.hlines(places, now, reach, color=_COLOURS["faint"], lw=1.5)
        axes.plot(now, places, "o", color=_series(0), ms=5, label="model arm")
        axes.plot(reach, places, "D", color=_series(1), ms=5, label="ceiling")
        _rows(axes, [headroom.path for headroom in rows])
        axes.set_xscale("log")
        axes.set_xlabel("bases/s")
        axes.xaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1.0, 3.0)))
        axes.xaxis.set_minor_locator(mpl.ticker.NullLocator())
        axes.xaxis.set_major_formatter(mpl.ticker.EngFormatter())
        axes.grid(axis="x")

    return _draw("Bases per second now and at the ceiling", len(rows) + 2, paint, legend=True)


def values_in_order(title: str, repeats: Sequence[Repeat]) -> str:
    """Draw the values of one system in the order of measurement, or by repeat where nobody knows it."""
    ordered = all(repeat.order is not None for repeat in repeats)

    def paint(axes: Axes) -> None:
        for index, path in enumerate(dict.fromkeys(repeat.path for repeat in repeats)):
            of_path = sorted(
                (r.repeat if r.order is None else r.order, r.value) for r in repeats if r.path == path
            )
            axes.plot(*zip(*of_path, strict=True), "o", color=_series(index), ms=4, label=path)
        axes.set_xlabel("order in which it was measured" if ordered else "repeat; the order is not known")
        axes.set_ylabel("value")
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        axes.grid(axis="y")

    return _draw(title, 7, paint, legend=True)


def _series(index: int) -> str:
    return _COLOURS[f"series-{index % 10}"]


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def _draw(title: str, rows: float, paint: Callable[[Axes], None], *, legend: bool = False) -> str:
    """Return an SVG element without ids of its own making, in the colours of the page."""
    with mpl.rc_context({**_STYLE, "svg.hashsalt": title}):
        figure = Figure(figsize=(WIDTH_IN, 0.8 + rows * ROW_IN), layout="constrained")
        axes = figure.add_subplot()
        paint(axes)
        if legend:
            figure.legend(loc="outside lower center", ncols=2)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    referenced = set(re.findall(r"#([\w-]+)", svg))
    svg = re.sub(r' id="([^"]+)"', lambda match: match[0] if match[1] in referenced else "", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # The page decides how large the picture is.
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    for name, colour in _COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)
