"""`fiveways train`: levels and models from reads of a known reference."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from models.truth import TrueRead

train_app = typer.Typer(no_args_is_help=True, help="Estimate k-mer levels and train models.")

Reads = Annotated[list[Path], typer.Argument(help="Files or folders of reads.")]
ReferencePath = Annotated[Path, typer.Option("--reference", help="The FASTA that the reads come from.")]
Caller = Annotated[str | None, typer.Option("--caller", help="The model whose calls place the reads.")]
Chemistry = Annotated[str, typer.Option(help="The chemistry whose levels lay bases on signal.")]


@contextmanager
def errors_as_lines() -> Iterator[None]:
    """Turn what is wrong with reads, models or files into one line and exit status 1."""
    from models.errors import ModelError  # noqa: PLC0415
    from reads.errors import ReadsError  # noqa: PLC0415

    try:
        yield
    except (ReadsError, ModelError, OSError, ValueError) as error:
        typer.echo(f"fiveways train: {error}", err=True)
        raise typer.Exit(1) from error


@train_app.command()
def levels(
    reads: Reads,
    reference: ReferencePath,
    output: Annotated[Path, typer.Option("-o", "--output", help="The table to write, .npz.")],
    caller: Caller = None,
    chemistry: Chemistry = "r9.4.1",
) -> None:
    """Estimate the level, spread and dwell of each k-mer from reads, starting from those of a chemistry."""
    from reads.estimate import fit  # noqa: PLC0415
    from reads.levels import chemistry as levels_of  # noqa: PLC0415

    with errors_as_lines():
        former = levels_of(chemistry)
        found = list(_true_reads(reads, reference, caller, chemistry))
        estimated = fit((read.for_levels(former) for read in found), former)
        estimated.save(output)
    samples = sum(int(read.alignment.starts[-1] - read.alignment.starts[0]) for read in found)
    typer.echo(f"{output}: from {len(found)} reads, {samples} samples")


@train_app.command()
def model(
    reads: Reads,
    reference: ReferencePath,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The model directory; its config.toml says what to train.")
    ],
    hours: Annotated[float, typer.Option(min=0.001, help="How long to train.")],
    caller: Caller = None,
    chemistry: Chemistry = "r9.4.1",
    chunk_samples: Annotated[int, typer.Option(min=500, help="Samples in an example.")] = 3000,
    batch: Annotated[int, typer.Option(min=1, help="Examples in a step.")] = 64,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    *,
    resume: Annotated[bool, typer.Option(help="Go on from OUTPUT/checkpoint.pt.")] = False,
) -> None:
    """Train the model that OUTPUT/config.toml describes, and write its weights.

    It learns from three sources: the reads themselves, random sequence spliced from their visits to each
    k-mer, and simulated signal. The log, a JSON object a line, is OUTPUT/train.jsonl.
    """
    import json  # noqa: PLC0415
    from dataclasses import asdict, replace  # noqa: PLC0415

    from models.basecaller import usable_cores  # noqa: PLC0415
    from models.config import load_config  # noqa: PLC0415
    from models.errors import ModelError  # noqa: PLC0415
    from models.examples import RealSource, SimulatedSource, Source, SplicedSource  # noqa: PLC0415
    from models.train import Progress, Trainer, TrainSettings  # noqa: PLC0415
    from models.zoo import write_weights  # noqa: PLC0415
    from reads.levels import chemistry as levels_of  # noqa: PLC0415

    with errors_as_lines():
        config = load_config(output)
        samples = chunk_samples // config.stride * config.stride
        config = replace(config, chunk_samples=samples)
        table = levels_of(chemistry)
        aligned = [true.aligned for true in _true_reads(reads, reference, caller, chemistry)]
        if not aligned:
            raise ModelError("none of the reads maps well enough to learn from")
        k = config.state_len
        sources: list[tuple[float, Source]] = [
            (0.45, RealSource(aligned, samples, k)),
            (0.35, SplicedSource(aligned, table.k, samples, k, table)),
            (0.2, SimulatedSource(table, samples, k)),
        ]
        settings = TrainSettings(seconds=hours * 3600, batch=batch, streams=usable_cores(), seed=seed)
        trainer = Trainer(config, sources, settings)
        checkpoint = output / "checkpoint.pt"
        if resume:
            trainer.resume(checkpoint)
        with (output / "train.jsonl").open("a") as log:

            def report(progress: Progress) -> None:
                log.write(json.dumps(asdict(progress)) + "\n")
                log.flush()
                typer.echo(
                    f"step {progress.step}  loss {progress.loss:.4f}  {progress.samples_per_s / 1e3:.0f} "
                    f"ksamples/s  {max(0.0, hours - progress.trained_s / 3600):.2f} h left",
                    err=True,
                )

            trainer.run(checkpoint, report)
        write_weights(trainer.average, output / "weights.safetensors")
    typer.echo(output)


def _true_reads(
    reads: list[Path], reference: Path, caller: str | None, chemistry: str
) -> "Iterator[TrueRead]":
    from models.mapping import Reference  # noqa: PLC0415
    from models.truth import true_reads  # noqa: PLC0415
    from models.zoo import DEFAULT, load  # noqa: PLC0415
    from reads.files import open_reads  # noqa: PLC0415
    from reads.levels import chemistry as levels_of  # noqa: PLC0415

    index = Reference.of_file(reference)
    loaded = load(caller or DEFAULT)
    with open_reads(
        reads, on_problem=lambda problem: typer.echo(f"fiveways train: {problem}", err=True)
    ) as found:
        yield from true_reads(loaded, found, index, levels_of(chemistry))
