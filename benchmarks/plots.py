"""What a run of benchmarks looks like: plots of its figures, each beside its ceiling."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

from benchmarks.measure import spread, text

OURS, OTHERS = "#2f6b9a", "#a9bccb"
CEILING: Mapping[str, Any] = {"color": "black", "linestyle": "--", "linewidth": 1}
STYLE: Mapping[str, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "svg.hashsalt": "fiveways",
}
BAR_INCHES, MARGIN_INCHES = 0.36, 1.1


def write_plots(records: Mapping[str, Mapping[str, Any]], folder: Path) -> list[str]:
    """Write the plots that the records allow into `folder`; return their names."""
    makers = {
        "ceilings": (matrix,),
        "engine": (engine,),
        "serving": (null_arm,),
        "comparison": (peers,),
    }
    names: list[str] = []
    with mpl.rc_context(dict(STYLE)):
        for benchmark, record in records.items():
            for make in makers.get(benchmark, ()):
                figure = make(record["figures"])
                if figure is not None:
                    names.append(f"{make.__name__}.svg")
                    figure.savefig(folder / names[-1], bbox_inches="tight")
                    plt.close(figure)
    return names


def matrix(figures: Mapping[str, Any]) -> Any:
    """Return bars of the matrix rate by place and type; None where not measured."""
    rates = {
        f"{kind}, {where}": rate / 1e9
        for where, by_type in figures.get("matrix_flops_per_s", {}).items()
        for kind, rate in by_type.items()
        if rate
    }
    if not rates:
        return None
    chart, axes = plt.subplots(figsize=(7, BAR_INCHES * len(rates) + MARGIN_INCHES))
    bars(axes, rates, OTHERS)
    axes.set_xlabel("matrix rate, GFLOP/s (int8: 10⁹ operations/s)")
    return chart


def engine(figures: Mapping[str, Any]) -> Any:
    """Return bars of samples/s by engine and stage, and the ceiling as a line; None where not measured."""
    rates = {
        name: rate / 1e6
        for name, rate in figures.get("samples_per_s", {}).items()
        if not name.endswith(": decoding")
    }
    if not rates:
        return None
    chart, axes = plt.subplots(figsize=(7, BAR_INCHES * len(rates) + MARGIN_INCHES))
    bars(axes, rates, [OURS if name.startswith("basecaller") else OTHERS for name in rates])
    if figures["ceiling_samples_per_s"]:
        ceiling(axes, figures["ceiling_samples_per_s"] / 1e6, "the matrix rate allows")
    axes.set_xlabel("million samples/s")
    return chart


def null_arm(figures: Mapping[str, Any]) -> Any:
    """Return bytes/s of the null arm and of the sink by the size of bodies; None where not measured."""
    if "null_arm" not in figures:
        return None
    sizes = {int(size): rates for size, rates in figures["null_arm"].items()}
    chart, axes = plt.subplots(figsize=(6, 3.6))
    for name, label, style in (
        ("sink", "bare byte sink", CEILING),
        ("null", "fiveways, null arm", {"color": OURS}),
    ):
        rates = [rates[name] / 1e6 for rates in sizes.values()]
        axes.plot(list(sizes), rates, marker="o", label=label, **style)
    axes.set_xscale("log")
    axes.set_xticks(list(sizes), [body_words(size) for size in sizes])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("body")
    axes.set_ylabel("MB/s")
    axes.grid(axis="y", color="#e5e5e5")
    axes.legend(frameon=False)
    return chart


def body_words(size: int) -> str:
    """Return a size as people say it."""
    return f"{size / 1e6:g} MB" if size >= 1_000_000 else f"{size / 1e3:g} kB"


def peers(figures: Mapping[str, Any]) -> Any:
    """Return bases/s and p99 of the servers on the same work, the fastest first; None where not measured."""
    if not figures.get("peers"):
        return None
    found = dict(sorted(figures["peers"].items(), key=lambda item: -spread(item[1]["bases_per_s"]).median))
    height = BAR_INCHES * len(found) + MARGIN_INCHES
    chart, (left, right) = plt.subplots(1, 2, figsize=(9, height), sharey=True)
    colors = [OURS if name == "fiveways" else OTHERS for name in found]
    for axes, key, unit in ((left, "bases_per_s", 1e3), (right, "p99_ms", 1.0)):
        spreads = {name: spread([value / unit for value in one[key]]) for name, one in found.items()}
        reach = [
            [one.median - one.least for one in spreads.values()],
            [one.greatest - one.median for one in spreads.values()],
        ]
        bars(axes, {name: one.median for name, one in spreads.items()}, colors, reach)
    ceiling(left, figures["in_process_bases_per_s"] / 1e3, "in process, no server")
    left.set_xlabel("kbases/s at saturation")
    right.set_xlabel("p99 at half of it, ms")
    chart.subplots_adjust(wspace=0.12)
    return chart


def bars(
    axes: Any, values: Mapping[str, float], color: str | Sequence[str], reach: Sequence[Any] | None = None
) -> None:
    """Draw a bar for each value, from the top down, with the value in it; `reach` is least and greatest."""
    style = {"ecolor": "#444444", "capsize": 2, "error_kw": {"linewidth": 1}}
    drawn = axes.barh(list(values), list(values.values()), height=0.7, color=color, xerr=reach, **style)
    # Inside the bar, where neither the reach nor the ceiling's line is.
    greatest = max(values.values())
    for bar, value in zip(drawn, values.values(), strict=True):
        inside = value > 0.15 * greatest
        axes.text(
            0.02 * greatest if inside else value + 0.02 * greatest,
            bar.get_y() + bar.get_height() / 2,
            text(value),
            va="center",
            color="white" if inside and bar.get_facecolor()[:3] == mpl.colors.to_rgb(OURS) else "black",
            fontsize=9,
        )
    if not axes.yaxis_inverted():
        axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)


def ceiling(axes: Any, value: float, label: str) -> None:
    """Draw a ceiling as a line with its name above the bars."""
    axes.axvline(value, **CEILING)
    axes.annotate(
        label,
        (value, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(-3, 3),
        textcoords="offset points",
        ha="right",
        fontsize=9,
    )
