"""`fiveways simulate`: squiggles with known truth, as a file of reads and the truth beside it."""

from pathlib import Path
from typing import Annotated

import typer

from reads.strands import Strands


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
    sd_bases: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="Their standard deviation, of a gamma distribution; 0.7 of the mean if left out."
        ),
    ] = None,
    strands: Annotated[Strands, typer.Option(help="Which strands of the reference are read.")] = Strands.BOTH,
    chemistry: Annotated[
        str, typer.Option(help="r9.4.1, or a table of levels from `fiveways train levels` (.npz).")
    ] = "r9.4.1",
    noise: Annotated[float, typer.Option(min=0.0, help="Noise, times that of real reads.")] = 1.0,
    speed_sd: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="How reads differ in speed: SD of its logarithm.")
    ] = 0.1,
    drift_sd: Annotated[
        float, typer.Option(min=0.0, help="How far the current drifts along a read, in its MADs.")
    ] = 0.03,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same reads.")] = 1,
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that simulate, which changes no read; the cores if left out."),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write simulated reads, with OUTPUT.truth.fasta (sequences) and OUTPUT.truth.tsv.

    The table has one line a read: where its strand lies on the reference, and the sample at which each base
    begins. All three files appear when they are complete.
    """
    import json  # noqa: PLC0415 - keeps `fiveways --help` quick
    from concurrent.futures.process import BrokenProcessPool  # noqa: PLC0415

    from reads.cores import usable_cores  # noqa: PLC0415
    from reads.errors import ReadsError  # noqa: PLC0415
    from reads.fasta import read_fasta  # noqa: PLC0415
    from reads.levels import chemistry as levels_of  # noqa: PLC0415
    from reads.parallel import simulated_in_order  # noqa: PLC0415
    from reads.progress import counting  # noqa: PLC0415
    from reads.simulate import Pore, Simulation  # noqa: PLC0415
    from reads.truth import TruthWriter  # noqa: PLC0415
    from reads.writer import read_writer  # noqa: PLC0415

    bases = samples = 0
    try:
        reads, truth = read_writer(output), TruthWriter(output)
        simulation = Simulation(
            seed=seed,
            levels=levels_of(chemistry),
            contigs=read_fasta(reference) if reference else None,
            mean_bases=mean_bases,
            sd_bases=sd_bases,
            strands=strands,
            pore=Pore(speed_sd=speed_sd, noise=noise, drift_sd=drift_sd),
        )
        made = simulated_in_order(simulation, count, processes or usable_cores())
        with reads, truth:
            for one in counting(made, "simulating", count, lambda one: len(one.sequence), "bases"):
                reads.write(one.read)
                truth.write(one)
                bases += len(one.sequence)
                samples += len(one.read.signal)
    except (ReadsError, ValueError, FileNotFoundError) as error:
        typer.echo(f"fiveways simulate: {error}", err=True)
        raise typer.Exit(2) from error
    except (OSError, BrokenProcessPool) as error:
        why = str(error) if str(output) in str(error) else f"{output}: {error}"
        typer.echo(f"fiveways simulate: {why}", err=True)
        raise typer.Exit(1) from error
    summary = {
        "reads": str(output),
        "truth": [str(path) for path in truth.paths],
        "count": count,
        "bases": bases,
        "samples": samples,
    }
    typer.echo(json.dumps(summary) if as_json else output)
