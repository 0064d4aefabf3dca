"""The pictures of an evaluation and of a training, as SVG. Knows no files.

Drawn on white in one width, to be put into a page or written beside a log. Everything shown in a page is in
a table of it, too.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import cycle
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.accuracy import JUDGED_Q, MOST_Q
from models.evaluation import Evaluation

WIDTH_IN, HEIGHT_IN = 5.0, 3.4
COLOURS = ("#0067a5", "#d9600a")
ALLOWED_GAP = 1.5
"""How far an honest quality may be off, in Q; the band of the picture."""
_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "grid.alpha": 0.35,
    "legend.frameon": False,
    "svg.fonttype": "none",
}


def draw(title: str, paint: Callable[[Axes], None], *, legend: bool = False) -> str:
    """Return an SVG element, the same one for the same title and paint."""
    with mpl.rc_context({**_STYLE, "svg.hashsalt": title}):
        figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
        axes = figure.add_subplot()
        paint(axes)
        axes.grid()
        if legend:
            figure.legend(loc="outside lower center", ncols=2)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    svg = file.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)


def identities(evaluations: Sequence[Evaluation]) -> str:
    """Draw how many reads have which identity."""
    found = {one.name: [r.identity for r in one.reads if r.identity is not None] for one in evaluations}
    every = [identity for values in found.values() for identity in values]
    if not every:
        return ""

    def paint(axes: Axes) -> None:
        bins = np.linspace(100 * min(every) - 0.5, 100 * max(every) + 0.5, 31).tolist()
        for (name, values), colour in zip(found.items(), cycle(COLOURS), strict=False):
            shares = 100 * np.array(values, float)
            axes.hist(shares, bins=bins, histtype="step", color=colour, label=name, lw=1.6)
        axes.set_xlabel("identity, %")
        axes.set_ylabel("reads")

    return draw("Reads by their identity", paint, legend=True)


def qualities(evaluations: Sequence[Evaluation]) -> str:
    """Draw empirical qualities over reported ones, with their intervals, and the band of honest ones."""
    found = {one.name: one.qualities for one in evaluations}
    if not any(found.values()):
        return ""
    highest = max(quality.reported for values in found.values() for quality in values)

    def paint(axes: Axes) -> None:
        line = np.array([0.0, min(highest + 1, MOST_Q)])
        axes.fill_between(line, line - ALLOWED_GAP, line + ALLOWED_GAP, color="#dbe9f6", lw=0)
        axes.plot(line, line, color="#1b1f24", lw=0.8)
        for (name, values), colour in zip(found.items(), cycle(COLOURS), strict=False):
            centre = np.array([q.empirical for q in values])
            spans = [
                centre - np.array([q.low for q in values]),
                np.array([q.high for q in values]) - centre,
            ]
            axes.errorbar(
                [q.reported for q in values], centre, yerr=np.maximum(spans, 0.0), color=colour,
                fmt="o-", ms=3, lw=1, label=name,
            )  # fmt: skip
        for edge in JUDGED_Q:
            axes.axvline(edge, color="#aab3bd", lw=0.8, ls=":")
        axes.set_xlabel("reported quality")
        axes.set_ylabel("empirical quality")

    return draw("Reported qualities against empirical ones", paint, legend=True)


def homopolymers(evaluations: Sequence[Evaluation]) -> str:
    """Draw the share of homopolymers called wrongly by their length in the reference."""
    if not any(one.homopolymers for one in evaluations):
        return ""

    def paint(axes: Axes) -> None:
        for one, colour in zip(evaluations, cycle(COLOURS), strict=False):
            rows = one.homopolymers
            axes.plot(
                [row["length"] for row in rows], [100 * row["wrong_share"] for row in rows], "o-",
                color=colour, ms=4, lw=1.2, label=one.name,
            )  # fmt: skip
        axes.set_xlabel("length in the reference, bases")
        axes.set_ylabel("called wrongly, %")
        axes.set_ylim(0, 100)

    return draw("Homopolymers called wrongly", paint, legend=True)


def read_qualities(evaluations: Sequence[Evaluation]) -> str:
    """Draw each read's identity over its mean quality, as both are in Phred's unit."""
    found = {
        one.name: [(r.mean_q, r.identity) for r in one.reads if r.identity is not None and r.mean_q]
        for one in evaluations
    }
    if not any(found.values()):
        return ""

    def paint(axes: Axes) -> None:
        for (name, values), colour in zip(found.items(), cycle(COLOURS), strict=False):
            axes.plot(
                [q for q, _ in values], [100 * identity for _, identity in values], "o",
                color=colour, ms=3, alpha=0.6, label=name,
            )  # fmt: skip
        axes.set_xlabel("mean quality of the read")
        axes.set_ylabel("identity, %")

    return draw("Identity of each read by its mean quality", paint, legend=True)


def pairs(evaluations: Sequence[Evaluation]) -> str:
    """Draw each read's identity by the second caller over that by the first."""
    if len(evaluations) < 2:
        return ""
    first, second = evaluations
    before = {read.read_id: read.identity for read in first.reads}
    points = [(before.get(read.read_id), read.identity) for read in second.reads]
    both = [(100 * a, 100 * b) for a, b in points if a is not None and b is not None]
    if not both:
        return ""

    def paint(axes: Axes) -> None:
        edges = [min(map(min, both)) - 1, max(map(max, both)) + 1]
        axes.plot(edges, edges, color="#1b1f24", lw=0.8)
        axes.plot([a for a, _ in both], [b for _, b in both], "o", color=COLOURS[0], ms=3, alpha=0.6)
        axes.set_xlabel(f"identity by {first.name}, %")
        axes.set_ylabel(f"identity by {second.name}, %")

    return draw("The same reads by both callers", paint)


def training(lines: Sequence[Mapping[str, Any]]) -> str:
    """Draw the log of a training: the loss, and the identity of held-out reads, over the hours trained."""
    steps = [line for line in lines if line["kind"] == "progress"]
    judged = [line for line in lines if line["kind"] == "evaluation" and line["identity_median"]]

    def paint(axes: Axes) -> None:
        axes.plot(
            [line["trained_s"] / 3600 for line in steps], [line["loss"] for line in steps],
            color=COLOURS[0], lw=1, label="loss",
        )  # fmt: skip
        axes.set_xlabel("hours trained")
        axes.set_ylabel("loss, nats a base")
        right = axes.twinx()
        right.plot(
            [line["trained_s"] / 3600 for line in judged],
            [100 * line["identity_median"] for line in judged], "o-",
            color=COLOURS[1], ms=4, lw=1.2, label="held-out identity, median",
        )  # fmt: skip
        right.set_ylabel("identity, %")

    return draw("Loss and held-out identity over the hours trained", paint, legend=True)
