"""`fiveways evaluate`: how good a caller's calls are, against a reference, and against another caller's."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.evaluation import Evaluation
    from models.mapping import Reference
    from reads.files import Problem

TABLE_COLUMNS = 120
"""How wide tables are where standard output is no terminal."""


def evaluate(
    reads: Annotated[list[Path], typer.Argument(help="Files, folders (searched), or - for standard input.")],
    reference: Annotated[Path, typer.Option(help="The FASTA that the reads come from.")],
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="A shipped model's name, or a model directory.")
    ] = None,
    calls: Annotated[
        Path | None, typer.Option(help="Calls of these reads by any program, .fastq, .sam or .bam.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Another caller to compare with: a model, or a file of calls.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, or cuda:N.")] = "auto",
    read_ids: Annotated[
        Path | None, typer.Option(help="Evaluate only the reads whose ids this file lists, one a line.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the figures and plots as one page, too.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with a row a read.")] = False,
) -> None:
    """Map calls to a reference, and print identity, kinds of error, and how honest the qualities are.

    With --against, the two callers are compared read by read: positive differences are the other's merit.
    A read that cannot be used is one line on stderr: exit status 1 says that there was such a one.
    """
    import json  # noqa: PLC0415 - keeps `fiveways --help` quick
    import sys  # noqa: PLC0415

    from rich.console import Console  # noqa: PLC0415

    from models.errors import ModelError  # noqa: PLC0415
    from models.evaluation import as_plain, compare_two  # noqa: PLC0415
    from models.mapping import Reference  # noqa: PLC0415
    from models.page import render, tables  # noqa: PLC0415
    from models.zoo import DEFAULT  # noqa: PLC0415
    from reads.atomic import replacing  # noqa: PLC0415
    from reads.errors import ReadsError  # noqa: PLC0415
    from reads.search import STDIN  # noqa: PLC0415

    refused: set[str] = set()

    def complain(problem: object) -> None:
        if str(problem) not in refused:  # both callers meet the same damage
            refused.add(str(problem))
            typer.echo(f"fiveways evaluate: {problem}", err=True)

    def refuse(why: str) -> None:
        typer.echo(f"fiveways evaluate: {why}", err=True)
        raise typer.Exit(2)

    if model and calls:
        refuse("--model and --calls name two callers: give one of them, and the other as --against")
    if against and STDIN in reads:
        refuse("standard input is read once, and two callers need the reads twice: name files")
    if html and not html.parent.is_dir():
        refuse(f"{html}: there is no folder {html.parent}")
    callers = [str(calls) if calls else model or DEFAULT, *([against] if against else [])]
    try:
        wanted = read_ids.read_text().split() if read_ids else None
        index = Reference.of_file(reference)
        evaluations = [_evaluate_one(name, device, reads, wanted, index, complain) for name in callers]
    except (ReadsError, ModelError, OSError) as error:
        complain(error)
        raise typer.Exit(1) from error
    comparison = compare_two(evaluations)
    if as_json:
        typer.echo(json.dumps(as_plain(evaluations, comparison), allow_nan=False))
    else:
        console = Console(width=None if sys.stdout.isatty() else TABLE_COLUMNS)
        console.print(tables(evaluations, comparison))
    if html:
        conditions = {
            "reads": ", ".join(map(str, reads)),
            "reference": str(reference),
            "chosen ids": str(read_ids) if read_ids else "all",
            "device": device,
            "not usable": str(len(refused)),
        }
        try:
            with replacing(html) as temporary:
                temporary.write_text(render(evaluations, comparison, conditions), encoding="utf-8")
        except OSError as error:
            complain(error)
            raise typer.Exit(1) from error
        typer.echo(f"wrote {html}", err=True)
    raise typer.Exit(1 if refused else 0)


def _evaluate_one(
    name: str,
    device: str,
    reads: list[Path],
    wanted: list[str] | None,
    reference: "Reference",
    complain: "Callable[[Problem], None]",
) -> "Evaluation":
    """Evaluate a caller, be it a model or a file of calls. Raises ReadsError, ModelError, OSError."""
    from models.called import holds_calls  # noqa: PLC0415
    from models.errors import device_failures  # noqa: PLC0415
    from models.evaluation import evaluate_calls, evaluate_model  # noqa: PLC0415
    from models.zoo import load  # noqa: PLC0415
    from reads.files import open_reads  # noqa: PLC0415
    from reads.progress import following  # noqa: PLC0415

    from_file = holds_calls(Path(name))
    caller = None if from_file else load(name, device)
    with open_reads(reads, read_ids=wanted, on_problem=complain) as stream:
        if caller is None:
            read_ids = [read.read_id for read in following(stream, "reading ids")]
            return evaluate_calls(Path(name), read_ids, reference)
        with device_failures(device):
            return evaluate_model(caller, following(stream, f"calling with {name}"), reference, complain)
