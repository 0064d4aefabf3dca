"""`fiveways train`: levels and models from mapped reads, from a teacher's calls, and from simulation."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.precision import Precision

if TYPE_CHECKING:
    from models.examples import AlignedRead, Source
    from models.material import Material
    from reads.levels import Levels

train_app = typer.Typer(no_args_is_help=True, help="Estimate k-mer levels and train models.")

Caller = Annotated[
    str | None, typer.Option("--caller", help="The model whose calls place the reads; the default model.")
]
Chemistry = Annotated[
    str, typer.Option(help="The chemistry whose levels lay bases on signal, or a table of levels (.npz).")
]
REAL_SHARES = (11.0, 5.0)
"""Of examples that are not simulated: windows of real reads, and sequence spliced from their visits."""


def complain(problem: object) -> None:
    """Say on standard error what came of a source, or what is wrong with a read."""
    typer.echo(f"fiveways train: {problem}", err=True)


@contextmanager
def errors_as_lines() -> Iterator[None]:
    """Turn what is wrong with reads, models or files into one line and exit status 1."""
    from models.errors import ModelError  # noqa: PLC0415
    from reads.errors import ReadsError  # noqa: PLC0415

    try:
        yield
    except (ReadsError, ModelError, OSError, ValueError) as error:
        complain(error)
        raise typer.Exit(1) from error


def refuse(why: str) -> None:
    """End with one line and exit status 2."""
    complain(why)
    raise typer.Exit(2)


@train_app.command()
def levels(
    reads: Annotated[list[Path], typer.Argument(help="Files or folders of reads.")],
    reference: Annotated[Path, typer.Option("--reference", help="The FASTA that the reads come from.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The table to write, .npz.")],
    caller: Caller = None,
    chemistry: Chemistry = "r9.4.1",
) -> None:
    """Estimate the level, spread and dwell of each k-mer from reads, starting from those of a chemistry."""
    from models.errors import TrainingError  # noqa: PLC0415
    from models.mapping import Reference  # noqa: PLC0415
    from models.truth import true_reads  # noqa: PLC0415
    from models.zoo import DEFAULT, load  # noqa: PLC0415
    from reads.estimate import fit  # noqa: PLC0415
    from reads.files import open_reads  # noqa: PLC0415
    from reads.levels import chemistry as levels_of  # noqa: PLC0415
    from reads.progress import following  # noqa: PLC0415

    if output.suffix != ".npz":
        refuse(f"{output}: a table of levels is written to a file whose name ends in .npz")
    with errors_as_lines():
        former = levels_of(chemistry)
        index, loaded = Reference.of_file(reference), load(caller or DEFAULT)
        with open_reads(reads, on_problem=complain) as stream:
            laid = true_reads(loaded, following(stream, "laying reads"), index, former)
            found = [true for true in laid if true]
        if not found:
            raise TrainingError(f"none of the reads maps well enough to {reference}")
        fit((read.for_levels(former) for read in found), former).save(output)
    samples = sum(int(read.alignment.starts[-1] - read.alignment.starts[0]) for read in found)
    typer.echo(f"{output}: from {len(found)} reads, {samples} samples")


@train_app.command()
def model(
    output: Annotated[Path, typer.Argument(help="The model's folder; its config.toml says what to train.")],
    hours: Annotated[
        float | None, typer.Option(min=0.0001, help="How long to train; evaluations do not count.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="How many steps to train, instead.")] = None,
    mapped: Annotated[
        list[str] | None,
        typer.Option(metavar="READS=REFERENCE", help="Reads and the FASTA that they come from; repeatable."),
    ] = None,
    unlabelled: Annotated[
        list[Path] | None, typer.Option(help="Reads to learn from by calls of them; repeatable.")
    ] = None,
    teacher_calls: Annotated[
        Path | None,
        typer.Option(help="A teacher's calls of the unlabelled reads; those of --caller if left out."),
    ] = None,
    least_quality: Annotated[
        float, typer.Option(help="Mean quality below which a call is not learned from.")
    ] = 10.0,
    simulated: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of examples that are simulated.")
    ] = 0.2,
    start_from: Annotated[
        str | None, typer.Option(help="The model of this architecture whose weights to begin with.")
    ] = None,
    caller: Caller = None,
    chemistry: Chemistry = "r9.4.1",
    holdout: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of mapped reads that are only judged by.")
    ] = 0.05,
    evaluate_minutes: Annotated[
        float, typer.Option(min=0.01, help="Minutes of training between evaluations.")
    ] = 10.0,
    chunk_samples: Annotated[int, typer.Option(min=500, help="Samples in an example.")] = 3000,
    batch: Annotated[int, typer.Option(min=1, help="Examples in a step.")] = 64,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="The highest one.")] = 2e-3,
    precision: Annotated[Precision, typer.Option(help="Of the network; losses are 32-bit.")] = Precision.AUTO,
    device: Annotated[str, typer.Option(help="auto, cpu, or cuda:N.")] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Decides the first weights and the examples.")] = 1,
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from OUTPUT/checkpoint.pt.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what came of it as JSON.")] = False,
) -> None:
    """Train the model that OUTPUT/config.toml describes, by CTC-CRF or CTC, and write its weights.

    Without --mapped and --unlabelled all examples are simulated. OUTPUT gets checkpoint.pt, the log
    train.jsonl, its plot train.svg, and weights.safetensors: those of the evaluation that called the held-out
    reads best. Ctrl-C saves a checkpoint and ends with status 130.
    """
    import json  # noqa: PLC0415
    from dataclasses import replace  # noqa: PLC0415

    import torch  # noqa: PLC0415

    from models.console import stopping, training_bar  # noqa: PLC0415
    from models.errors import DeviceError  # noqa: PLC0415
    from models.material import simulated_held_out  # noqa: PLC0415
    from models.network import Network  # noqa: PLC0415
    from models.train import Trainer, TrainSettings  # noqa: PLC0415
    from models.training import Training, reporter  # noqa: PLC0415
    from models.zoo import find_device  # noqa: PLC0415
    from reads.cores import usable_cores  # noqa: PLC0415
    from reads.levels import chemistry as levels_of  # noqa: PLC0415

    if (hours is None) == (steps is None):
        refuse("give --hours or --steps: how long to train")
    if teacher_calls and not unlabelled:
        refuse("--teacher-calls are calls of reads: name them with --unlabelled")
    pairs = [_pair(typed) for typed in mapped or []]
    with errors_as_lines():
        found_device = find_device(device)
        table = levels_of(chemistry)
        training = Training(output, found_device)
        training.check_rate(table)
        samples = chunk_samples // training.config.stride * training.config.stride
        settings = TrainSettings(
            seconds=None if hours is None else hours * 3600,
            steps=steps,
            batch=batch,
            streams=min(usable_cores(), batch),
            learning_rate=learning_rate,
            seed=seed,
            precision=precision,
            evaluate_s=evaluate_minutes * 60,
        )
        torch.manual_seed(seed)
        network = Network(list(training.config.layers))
        trainer = Trainer(replace(training.config, chunk_samples=samples), network, settings, found_device)
        # What is wrong with the folder is said before hours are spent on reads.
        if resume:
            training.resume(trainer)
        else:
            training.begin(trainer, start_from)
        material = _gather(
            pairs, unlabelled or [], teacher_calls, least_quality, caller, table, holdout, device
        )
        held_out = material.held_out or simulated_held_out(table, seed)
        sources = _sources(material.learned, table, samples, training.config.state_len, simulated)
        with training_bar() as bar, stopping() as stop:
            report, evaluate = reporter(trainer, training, held_out, bar.show, bar.say)
            try:
                finished = trainer.run(sources, training.checkpoint, report, evaluate, stop.is_set)
            except DeviceError as error:
                if not training.checkpoint.exists():
                    raise
                raise DeviceError(f"{error}; --resume goes on from {training.checkpoint}") from error
        best = training.best_evaluation()
    summary = {
        "model": str(output),
        "finished": finished,
        "step": trainer.step,
        "trained_s": trainer.trained_s,
        "best": best,
    }
    typer.echo(json.dumps(summary) if as_json else output)
    if not finished:
        complain(f"stopped at step {trainer.step}; --resume goes on from {training.checkpoint}")
        raise typer.Exit(130)


def _pair(typed: str) -> tuple[Path, Path]:
    reads, equals, reference = typed.rpartition("=")
    if not (reads and equals and reference):
        refuse(f"--mapped {typed!r} is not READS=REFERENCE, such as reads/=genome.fa")
    return Path(reads), Path(reference)


def _gather(
    pairs: list[tuple[Path, Path]],
    unlabelled: list[Path],
    teacher_calls: Path | None,
    least_quality: float,
    caller: str | None,
    table: "Levels",
    holdout: float,
    device: str,
) -> "Material":
    from models.material import Gatherer, Material  # noqa: PLC0415
    from models.zoo import DEFAULT, load  # noqa: PLC0415

    material = Material()
    if not pairs and not unlabelled:
        return material
    gatherer = Gatherer(load(caller or DEFAULT, device), table, holdout, complain)
    for reads, reference in pairs:
        gatherer.mapped(material, reads, reference)
    for reads in unlabelled:
        if teacher_calls:
            gatherer.taught(material, reads, teacher_calls, least_quality)
        else:
            gatherer.self_taught(material, reads, least_quality)
    return material


def _sources(
    learned: "list[AlignedRead]", table: "Levels", samples: int, state_len: int, simulated: float
) -> "list[tuple[float, Source]]":
    from models.errors import TrainingError  # noqa: PLC0415
    from models.examples import CENTRE, RealSource, SimulatedSource, SplicedSource  # noqa: PLC0415

    context = max(state_len, CENTRE)
    sources: list[tuple[float, Source]] = []
    if learned and simulated < 1:
        long = [read for read in learned if read.starts[-1] - read.starts[0] > 2 * samples]
        if not long:
            raise TrainingError(
                f"none of {len(learned)} reads is twice as long as an example of {samples} samples"
            )
        real, spliced = (share * (1 - simulated) / sum(REAL_SHARES) for share in REAL_SHARES)
        sources.append((real, RealSource(long, samples, context)))
        sources.append((spliced, SplicedSource(learned, table.k, samples, context, table)))
    if simulated > 0 or not learned:
        sources.append((simulated or 1.0, SimulatedSource(table, samples, context)))
    return sources
