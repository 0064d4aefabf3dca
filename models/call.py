"""`fiveways call`: reads from files -> basecaller -> FASTQ, SAM or BAM."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from models.caller import Caller
    from reads.read import Read


def call(
    reads: Annotated[list[Path], typer.Argument(help="Files, folders (searched), or - for standard input.")],
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="A shipped model's name, or a model directory.")
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help=".fastq, .sam or .bam; - writes FASTQ to stdout.")
    ] = Path("-"),
    device: Annotated[str, typer.Option(help="auto, cpu, or cuda:N.")] = "auto",
    read_ids: Annotated[
        Path | None, typer.Option(help="Call only the reads whose ids this file lists, one a line.")
    ] = None,
    *,
    emit_moves: Annotated[bool, typer.Option("--emit-moves", help="Write the move table, tag mv.")] = False,
) -> None:
    """Call reads in this process.

    What cannot be called is one line on stderr and everything else is called: exit status 1 says that there
    was such a thing.
    """
    import json  # noqa: PLC0415 - keeps `fiveways --help` quick
    import time  # noqa: PLC0415

    from models.basecaller import call as call_reads  # noqa: PLC0415
    from models.errors import ModelError  # noqa: PLC0415
    from models.writer import STDOUT, CallFormat, CallWriter, call_format  # noqa: PLC0415
    from models.zoo import DEFAULT, load  # noqa: PLC0415
    from reads.errors import ReadError, ReadsError  # noqa: PLC0415
    from reads.files import open_reads  # noqa: PLC0415

    refused: list[str] = []

    def report(problem: object) -> None:
        refused.append(str(problem))
        typer.echo(f"fiveways call: {problem}", err=True)

    def callable_reads(caller: "Caller", found: "Iterable[Read]") -> "Iterator[Read]":
        for read in found:
            if caller.sample_rate in {0, read.sample_rate}:
                yield read
            else:
                why = f"sampled at {read.sample_rate:g} Hz, {caller.name} takes {caller.sample_rate:g} Hz"
                report(ReadError(Path(read.origin.filename), read.read_id, why))

    try:
        form = CallFormat.FASTQ if output == STDOUT else call_format(output)
        wanted = read_ids.read_text().split() if read_ids else None
        stream = open_reads(reads, read_ids=wanted, on_problem=report)
        caller = load(model or DEFAULT, device)
    except (ReadsError, ModelError, ValueError, OSError) as error:
        typer.echo(f"fiveways call: {error}", err=True)
        raise typer.Exit(2) from error

    began = time.monotonic()
    called = samples = bases = 0
    try:
        with stream, CallWriter(output, form, caller.name, with_moves=emit_moves) as calls:
            for read, basecall in call_reads(caller, callable_reads(caller, stream)):
                calls.write(read, basecall)
                called, samples = called + 1, samples + basecall.samples
                bases += len(basecall.sequence)
    except OSError as error:
        typer.echo(f"fiveways call: {output}: {error}", err=True)
        raise typer.Exit(1) from error
    seconds = time.monotonic() - began
    summary = {"reads": called, "not_called": len(refused), "samples": samples, "bases": bases}
    typer.echo(f"{json.dumps(summary)} {samples / seconds / 1e3:.0f} ksamples/s", err=True)
    raise typer.Exit(1 if refused else 0)
