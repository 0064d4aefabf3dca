"""Every benchmark of speed that this machine can run, into one folder: `make bench-speed`.

    python -m benchmarks.speed [--quick] [--rounds 3] [--only ceilings,engine] [--out results/speed/TIME]

One after the other, in processes of their own; with three rounds about 20 minutes on 2 cores. Writes each
one's JSON, report.md and the plots. One that fails is said to have failed, and the others go on: exits 1
then, or 130 where it was interrupted. Either way, what was measured until then is kept.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.measure import KEPT_AT, Finding, Section, aims_section, at_most, chosen, markdown, show
from benchmarks.plots import write_plots

BENCHMARKS = ("ceilings", "engine", "serving", "comparison", "loadgen_cost")
QUICK_LOADGEN = ("--seconds", "0.2", "--sizes", "100000")
SERVING_S = "3"
"""Of each arm in a round, where alone it would have longer."""
QUIET_LOAD = 0.3
"""Load a core, of the minute before, up to which a machine counts as quiet."""
LIMIT_S = 3600.0
"""For one benchmark, however many rounds it has."""
END_S = 60.0
"""For one that was interrupted to end what it had started."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one benchmark left: its record, as far as it came, and how it ended."""

    record: dict[str, Any] | None
    took_s: float
    ended: str = ""
    """Why it did not come to its end."""


def arguments(benchmark: str, *, quick: bool, rounds: int) -> list[str]:
    """Return what one benchmark is told."""
    if not quick:
        seconds = ["--seconds", SERVING_S] if benchmark == "serving" else []
        return ["--rounds", str(rounds), *seconds]
    return ["--rounds", "1", *QUICK_LOADGEN] if benchmark == "loadgen_cost" else ["--quick"]


def run(benchmark: str, options: Sequence[str], to: Path) -> tuple[Part, bool]:
    """Run one benchmark and keep its record; also return whether it was interrupted."""
    kept = to / f"{benchmark}.json"
    command = [sys.executable, "-m", f"benchmarks.{benchmark}", *options]
    began_s = time.monotonic()
    # A group of its own: an interruption is handed on once, and ends in order.
    process = subprocess.Popen(  # noqa: S603 - our own
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {KEPT_AT: str(kept)},
        process_group=0,
    )
    interrupted, ended = False, ""
    try:
        said, _ = process.communicate(timeout=LIMIT_S)
    except KeyboardInterrupt:
        interrupted, ended, said = True, "interrupted", _end(process)
    except subprocess.TimeoutExpired:
        ended, said = f"not done within {LIMIT_S:g} s", _end(process)
    if process.returncode and not ended:
        ended = f"exit status {process.returncode}; it says why on stderr"
    if not ended:
        kept.write_text(json.dumps(json.loads(said.splitlines()[-1]), indent=1))
    record = as_record(json.loads(kept.read_text())) if kept.is_file() else None
    return Part(record, time.monotonic() - began_s, ended), interrupted


def _end(process: "subprocess.Popen[str]") -> str:
    process.send_signal(signal.SIGINT)
    try:
        return process.communicate(timeout=END_S)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0]


def as_record(found: dict[str, Any]) -> dict[str, Any]:
    """Return a benchmark's record; that of loadgen_cost has a form of its own."""
    if "ratios" not in found:
        return found
    costs = [
        [
            f"{one['sender']}, {one['body_bytes']:,} bytes",
            *(one["cpu_s_per_gb"][name] for name in ("median", "min", "max")),
            one["gb_per_s"]["median"],
        ]
        for one in found["results"]
    ]
    aims = [
        at_most(
            f"CPU of {one['sender']} over {one['to']}'s, {one['body_bytes']:,} bytes",
            one["cpu"]["median"],
            one["aim"],
        )
        for one in found["ratios"]
        if one["aim"]
    ]
    columns = ["sender, body", "CPU s/GB, median", "least", "greatest", "GB/s"]
    section = {"title": "What the load generator costs", "columns": columns, "rows": costs, "note": ""}
    plain = [{"name": one.name, "value": one.value, "aim": one.aim, "met": one.met} for one in aims]
    return found | {"sections": [section], "aims": plain, "figures": {}, "settings": {"quick": False}}


def report(parts: Mapping[str, Part], plots: Sequence[str]) -> str:
    """Return the report as Markdown."""
    lines = ["# Speed", "", *conditions(parts), markdown(summary(parts))]
    for name, part in parts.items():
        lines += [f"## {name.replace('_', ' ').capitalize()}", ""]
        if part.ended:
            lines += [f"**Not finished: {part.ended}.** What it had measured until then:", ""]
        if part.record:
            lines += [markdown(section) for section in map(section_of, part.record["sections"])]
    lines += [f"![{Path(plot).stem}]({plot})\n" for plot in plots]
    return "\n".join(lines)


def summary(parts: Mapping[str, Part]) -> Section:
    """Return all values that have an aim, and what did not come to its end."""
    aims = [Finding(**aim) for part in parts.values() if part.record for aim in part.record["aims"]]
    aims += [
        Finding(f"benchmarks.{name}", part.ended, "comes to its end", met=False)
        for name, part in parts.items()
        if part.ended
    ]
    return aims_section(aims)


def conditions(parts: Mapping[str, Part]) -> list[str]:
    """Return what the figures depend on, and whether they are worth anything."""
    records = [part.record for part in parts.values() if part.record]
    machines = [record["machine"] for record in records if "machine" in record]
    if not machines:
        return []
    machine = machines[0]
    words = f"{machine['processor']}, {machine['cores']} cores, {machine['measured']}."
    took = ", ".join(f"{name} {part.took_s:,.0f} s" for name, part in parts.items())
    lines = [words, "", f"Took: {took}.", ""]
    if any(record["settings"]["quick"] for record in records):
        lines += ["**A quick run: it shows that everything runs, and measures nothing.**", ""]
    # Later ones begin in the load of those before them.
    elif machine["load"] / machine["cores"] > QUIET_LOAD:
        load = (
            f"**The machine was busy when it began (load {machine['load']}): compare ratios within this run"
        )
        lines += [f"{load} only, and those with care.**", ""]
    return lines


def section_of(plain: Mapping[str, Any]) -> Section:
    """Return a section from its JSON."""
    return Section(
        plain["title"], tuple(plain["columns"]), tuple(tuple(row) for row in plain["rows"]), plain["note"]
    )


def main(
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Tiny sizes: shows that all of it runs.")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Of each benchmark; 1 takes about half the time.")] = 3,
    only: Annotated[str, typer.Option(help=f"Some of {','.join(BENCHMARKS)}, with commas between.")] = "",
    out: Annotated[Path | None, typer.Option(help="Where to write; results/speed/TIME unless told.")] = None,
) -> None:
    """Run them all."""
    wanted = chosen(only, BENCHMARKS)
    folder = out or Path("results") / "speed" / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Part] = {}
    interrupted = False
    for name in wanted:
        parts[name], interrupted = run(name, arguments(name, quick=quick, rounds=rounds), folder)
        if parts[name].ended:
            typer.echo(f"benchmarks.{name}: {parts[name].ended}", err=True)
        plots = write_plots({name: part.record for name, part in parts.items() if part.record}, folder)
        (folder / "report.md").write_text(report(parts, plots))
        if interrupted:
            break
    show(summary(parts))
    typer.echo(str(folder / "report.md"))
    if interrupted:
        raise typer.Exit(130)
    raise typer.Exit(any(part.ended for part in parts.values()))


if __name__ == "__main__":
    typer.run(main)
