"""The checker checked live, in labs whose truth is known: python benchmarks/controls.py.

In each run the clients of one more path of host networking send at a known share of the line rate: that path
must be found slower by that factor, with the truth inside its interval. Host networking, measured twice, must
be found equivalent or not be resolved. The line is slow, so that it is the limit also of a machine that does
other things. Exits with 1 where a control fails.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

FIVEWAYS = str(Path(sys.executable).with_name("fiveways"))
PATH = "host/hostip"


@dataclass(frozen=True, slots=True)
class Control:
    """What one run found of the shaped path, and of host networking against itself."""

    seed: int
    truth: float
    rounds: int
    shaped: dict[str, Any]
    """Verdict of the shaped path, see results.schema.json."""
    host: dict[str, Any]
    """Verdict of host networking against itself."""
    gates_failed: tuple[str, ...]

    @property
    def slower_by_the_truth(self) -> bool:
        """Whether the shaped path is found slower, and the truth is inside its interval."""
        # Without any noise both ends are null: nothing bounds it yet.
        ends = self.shaped["low"], self.shaped["high"]
        return self.shaped["word"] == "lower" and None not in ends and ends[0] <= self.truth <= ends[1]

    @property
    def same_as_itself(self) -> bool:
        """Whether host networking is not found to differ from itself."""
        return self.host["word"] in {"equivalent", "unresolved"}


def run_once(seed: int, *, line_mbps: float, share: float, budget_s: float, block_s: float) -> Control:
    """Run a lab with one shaped path, and return what it found. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory(prefix="fiveways-controls-") as folder:
        command = [FIVEWAYS, "bench", "lab", "--json", "--out", folder, "--seed", str(seed)]
        command += ["--path", PATH, "--shape", f"{PATH}={share * line_mbps:g}"]
        command += ["--line-rate-mbps", f"{line_mbps:g}", "--arms", "null", "--model", "null"]
        command += ["--budget-s", f"{budget_s:g}", "--block-s", f"{block_s:g}"]
        command += ["--settle-s", f"{block_s / 3:g}", "--users", "4", "--chunk-samples", "4000"]
        limit_s = 10 * budget_s + 300
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=limit_s)  # noqa: S603 - our own
    return read_control(json.loads(done.stdout), seed=seed, truth=share)


def read_control(plain: dict[str, Any], *, seed: int, truth: float) -> Control:
    """Read a results.json of such a run."""
    results = plain["results"]
    (shaped,) = (row for row in results["comparisons"] if row["measure"] == "bases_per_s")
    (host,) = (row for row in results["controls"] if row["measure"] == "bases_per_s")
    return Control(
        seed=seed,
        truth=truth,
        rounds=shaped["verdict"]["rounds"],
        shaped=shaped["verdict"],
        host=host["verdict"],
        gates_failed=tuple(gate["name"] for gate in results["gates"] if not gate["held"]),
    )


def as_table(controls: list[Control]) -> Table:
    """Return a row for each run."""
    table = Table(title="live controls", title_justify="left")
    for name in (
        "seed",
        "rounds",
        "truth",
        "shaped path",
        "held",
        "host against itself",
        "held",
        "gates failed",
    ):
        table.add_column(name, no_wrap=name != "gates failed")
    for control in controls:
        table.add_row(
            str(control.seed),
            str(control.rounds),
            f"{control.truth:.4f}",
            _told(control.shaped),
            "yes" if control.slower_by_the_truth else "no",
            _told(control.host),
            "yes" if control.same_as_itself else "no",
            ", ".join(control.gates_failed) or "none",
        )
    return table


def _told(verdict: dict[str, Any]) -> str:
    low, ratio, high = (
        "?" if verdict[name] is None else f"{verdict[name]:.4f}" for name in ("low", "ratio", "high")
    )
    return f"{ratio} [{low}, {high}] {verdict['word']}"


def main(
    *,
    runs: Annotated[int, typer.Option(min=1, help="How often the controls are run.")] = 3,
    line_mbps: Annotated[float, typer.Option(min=1.0, help="Line rate, Mbit/s.")] = 8.0,
    share: Annotated[float, typer.Option(min=0.125, max=0.97, help="Of it, what the shaped path has.")] = 0.5,
    budget_s: Annotated[float, typer.Option(min=10.0, help="Seconds of rounds in each run.")] = 60.0,
    block_s: Annotated[float, typer.Option(min=0.5, help="Seconds of a block.")] = 1.5,
    out: Annotated[Path | None, typer.Option(help="Write what was found to this file, as JSON.")] = None,
) -> None:
    """Run the live controls, and print what was found."""
    controls = [
        run_once(seed, line_mbps=line_mbps, share=share, budget_s=budget_s, block_s=block_s)
        for seed in range(1, runs + 1)
    ]
    Console(width=None if sys.stdout.isatty() else 160).print(as_table(controls))
    if out:
        out.write_text(json.dumps([asdict(control) for control in controls], indent=2) + "\n")
    held = all(control.slower_by_the_truth and control.same_as_itself for control in controls)
    raise typer.Exit(not held)


if __name__ == "__main__":
    typer.run(main)
