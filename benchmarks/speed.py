"""Every benchmark of speed that this machine can run, into one folder: `make bench-speed`.

    python -m benchmarks.speed [--quick] [--out results/speed/TIME] [--peers FOLDER]

Ceilings, engine and serving, one after the other in processes of their own. Writes each one's JSON, report.md
and the plots; one that fails is said to have failed, and the others go on. Exits 1 where one did.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.measure import Finding, Section, aims_section, markdown
from benchmarks.plots import write_plots

BENCHMARKS = ("ceilings", "engine", "serving")
QUIET_LOAD = 0.3
"""Load a core, of the minute before, up to which a machine counts as quiet."""


def run(benchmark: str, arguments: Sequence[str], to: Path) -> dict[str, Any] | None:
    """Run one benchmark and keep its record; None where it failed, which stderr has said."""
    command = [sys.executable, "-m", f"benchmarks.{benchmark}", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - our own
    if done.returncode:
        typer.echo(f"benchmarks.{benchmark} failed with exit status {done.returncode}", err=True)
        return None
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    (to / f"{benchmark}.json").write_text(json.dumps(found, indent=1))
    return found


def report(records: Mapping[str, dict[str, Any] | None], plots: Sequence[str]) -> str:
    """Return the report as Markdown."""
    lines = ["# Speed", ""]
    for name, record in records.items():
        lines += [f"## {name.capitalize()}", ""]
        if record is None:
            lines += ["Failed: it says why on stderr.", ""]
            continue
        lines += [conditions(record["machine"], quick=record["settings"]["quick"]), ""]
        lines += [markdown(section) for section in map(section_of, record["sections"])]
        if record["aims"]:
            lines.append(markdown(aims_section([Finding(**aim) for aim in record["aims"]])))
    lines += [f"![{Path(plot).stem}]({plot})" for plot in plots]
    return "\n".join([*lines, ""])


def conditions(machine: Mapping[str, Any], *, quick: bool) -> str:
    """Return one line on what the figures depend on, and whether they are worth anything."""
    load = machine["load"] / machine["cores"]
    words = (
        f"{machine['processor']}, {machine['cores']} cores, {machine['measured']}, load {machine['load']}."
    )
    if quick:
        words += " **A quick run: it shows that everything runs, and measures nothing.**"
    elif load > QUIET_LOAD:
        words += " **The machine was busy: compare ratios within this run only, and those with care.**"
    return words


def section_of(plain: Mapping[str, Any]) -> Section:
    """Return a section from its JSON."""
    return Section(
        plain["title"], tuple(plain["columns"]), tuple(tuple(row) for row in plain["rows"]), plain["note"]
    )


def main(
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Tiny sizes: shows that all of it runs.")] = False,
    out: Annotated[Path | None, typer.Option(help="Where to write; results/speed/TIME unless told.")] = None,
    peers: Annotated[Path | None, typer.Option(help="As for benchmarks.serving.")] = None,
) -> None:
    """Run them all."""
    folder = out or Path("results") / "speed" / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    folder.mkdir(parents=True, exist_ok=True)
    records: dict[str, dict[str, Any] | None] = {}
    for name in BENCHMARKS:
        arguments = ["--quick"] * quick
        if peers and name == "serving":
            arguments += ["--peers", str(peers)]
        records[name] = run(name, arguments, folder)
    plots = write_plots({name: record for name, record in records.items() if record}, folder)
    (folder / "report.md").write_text(report(records, plots))
    typer.echo(str(folder / "report.md"))
    raise typer.Exit(1 if None in records.values() else 0)


if __name__ == "__main__":
    typer.run(main)
