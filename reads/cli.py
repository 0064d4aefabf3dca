"""`fiveways simulate`: squiggles with known truth, as a file of reads and the truth beside it."""

import itertools
from pathlib import Path
from typing import Annotated

import typer


def simulate(
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="The file to write, .fast5 or .pod5; the truth goes beside it."),
    ],
    reference: Annotated[
        Path | None, typer.Argument(help="FASTA that strands are drawn from; random sequence when left out.")
    ] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Reads to write.")] = 100,
    mean_bases: Annotated[int, typer.Option(min=50, help="Mean length of a strand, in bases.")] = 8000,
    chemistry: Annotated[str, typer.Option(help="The pore's chemistry.")] = "r9.4.1",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same reads.")] = 1,
) -> None:
    """Write simulated reads, with OUTPUT.truth.fasta (sequences) and OUTPUT.truth.tsv (positions)."""
    from rich.console import Console  # noqa: PLC0415 - keeps `fiveways --help` quick
    from rich.progress import track  # noqa: PLC0415

    from reads.errors import ReadsError  # noqa: PLC0415
    from reads.fasta import read_fasta  # noqa: PLC0415
    from reads.simulate import chemistry as levels_of  # noqa: PLC0415
    from reads.simulate import simulate_reads  # noqa: PLC0415
    from reads.truth import TruthWriter  # noqa: PLC0415
    from reads.writer import read_writer  # noqa: PLC0415

    console = Console(stderr=True)
    try:
        levels = levels_of(chemistry)
        contigs = read_fasta(reference) if reference else None
        simulated = itertools.islice(
            simulate_reads(seed=seed, mean_bases=mean_bases, contigs=contigs, levels=levels), count
        )
        with read_writer(output) as reads, TruthWriter(output) as truth:
            for one in track(
                simulated, "simulating", total=count, console=console, disable=not console.is_terminal
            ):
                reads.write(one.read)
                truth.write(one)
    except (ReadsError, ValueError) as error:
        typer.echo(f"fiveways simulate: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(output)
