"""What a run of benchmarks looks like: plots of its figures, each beside its ceiling."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt


def write_plots(records: Mapping[str, Mapping[str, Any]], folder: Path) -> list[str]:
    """Write the plots that the records allow into `folder`; return their names."""
    makers = {"engine": (engine,), "serving": (null_arm, peers)}
    names: list[str] = []
    for benchmark, record in records.items():
        for make in makers.get(benchmark, ()):
            figure = make(record["figures"])
            if figure is not None:
                names.append(f"{make.__name__}.svg")
                figure.savefig(folder / names[-1], bbox_inches="tight")
                plt.close(figure)
    return names


def engine(figures: Mapping[str, Any]) -> Any:
    """Return bars of samples/s by engine and stage, and the ceiling as a line."""
    rates = {name: rate for name, rate in figures["samples_per_s"].items() if not name.endswith(": decoding")}
    chart, axes = plt.subplots(figsize=(8, 0.4 * len(rates) + 1))
    axes.barh(list(rates), [rate / 1e6 for rate in rates.values()], color="#4878a8")
    if figures["ceiling_samples_per_s"]:
        axes.axvline(figures["ceiling_samples_per_s"] / 1e6, color="black", linestyle="--", label="ceiling")
        axes.legend(frameon=False)
    axes.invert_yaxis()
    axes.set_xlabel("million samples/s")
    return chart


def null_arm(figures: Mapping[str, Any]) -> Any:
    """Return bytes/s of the null arm and of the sink by the size of bodies; None where not measured."""
    if "null_arm" not in figures:
        return None
    sizes = {int(size): rates for size, rates in figures["null_arm"].items()}
    chart, axes = plt.subplots(figsize=(6, 4))
    for name in ("sink", "null"):
        axes.plot(list(sizes), [rates[name] / 1e6 for rates in sizes.values()], marker="o", label=name)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("bytes in a body")
    axes.set_ylabel("MB/s")
    axes.legend(frameon=False)
    return chart


def peers(figures: Mapping[str, Any]) -> Any:
    """Return bases/s and p99 of the servers on the same work; None where not measured."""
    if "peers" not in figures:
        return None
    found = figures["peers"]
    chart, (left, right) = plt.subplots(1, 2, figsize=(9, 0.5 * len(found) + 1), sharey=True)
    left.barh(list(found), [one["bases_per_s"] / 1e3 for one in found.values()], color="#4878a8")
    left.set_xlabel("kbases/s at saturation")
    right.barh(list(found), [one["p99_ms"] for one in found.values()], color="#a86048")
    right.set_xlabel("p99 at half of it, ms")
    left.invert_yaxis()
    return chart
