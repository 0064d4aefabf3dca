"""Soaks: whether the service keeps its promises under abuse. Each takes about a minute, on loopback only.

`python -m benchmarks.soak --help`, from the root of the repository. Prints a table on stderr and JSON as the
last line of stdout; exits 1 where a promise was broken.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import survival
from benchmarks.company import company as keep_company
from benchmarks.flood import flood as flood_it
from benchmarks.measure import Finding, Record, machine

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Soaks of the service, on loopback.")

Seconds = Annotated[float, typer.Option(min=1.0, help="How long it goes on.")]


@app.command()
def flood(seconds: Seconds = 60.0) -> None:
    """Send one replica twenty times what it can do: it does what it can, and refuses the rest at once."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        _end("flood", flood_it(Path(folder), seconds))


@app.command()
def company(
    model: Annotated[
        str, typer.Option("-m", "--model", help="A model of the zoo, its default where empty, or paced.")
    ] = "",
    reads: Annotated[int, typer.Option("-n", min=1, help="Reads to send twice.")] = 100,
) -> None:
    """Send the same reads alone and among others: the answers are the same, and all bases are counted."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        _end("company", keep_company(Path(folder), model, reads))


@app.command()
def kill(seconds: Seconds = 60.0, every_s: float = 3.0) -> None:
    """Kill one of three replicas behind a client every few seconds: no read is lost, none comes twice."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        _end("kill", survival.kill(Path(folder), seconds, every_s))


@app.command()
def rolling(seconds: Seconds = 60.0, every_s: float = 3.0) -> None:
    """Restart three replicas in turn by SIGTERM behind a client: it sees no failure."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        _end("rolling", survival.rolling(Path(folder), seconds, every_s))


def _end(title: str, findings: Sequence[Finding]) -> None:
    record = Record(title, {}, machine(), aims=list(findings))
    record.finish()
    raise typer.Exit(record.failed)


if __name__ == "__main__":
    app()
