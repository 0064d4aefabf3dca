"""`fiveways models`: what models there are, what one is, and whether a directory can be used."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

models_app = typer.Typer(no_args_is_help=True, help="The models that can be used.")

Model = Annotated[
    str, typer.Argument(help="A shipped model's name, or a model directory: ours, Bonito's or Dorado's.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@contextmanager
def errors_as_lines(command: str) -> Iterator[None]:
    """Turn a model that there is none of into exit status 2, one that cannot be used into 1; a line each."""
    from models.errors import ModelError, UnknownModelError  # noqa: PLC0415

    try:
        yield
    except ModelError as error:
        typer.echo(f"fiveways models {command}: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, UnknownModelError) else 1) from error


@models_app.command("list")
def list_models(*, as_json: AsJson = False) -> None:
    """List the shipped models, the default one first."""
    from models.zoo import DEFAULT, names  # noqa: PLC0415 - torch is slow to import

    found = sorted(names(), key=lambda name: (name != DEFAULT, name))
    typer.echo(json.dumps({"default": DEFAULT, "models": found}) if as_json else "\n".join(found))


@models_app.command()
def show(model: Model, *, as_json: AsJson = False) -> None:
    """Print what a model is: its form, its size, its cost, the reads it takes, and its licence."""
    from models.zoo import find  # noqa: PLC0415

    with errors_as_lines("show"):
        directory = find(model)
        facts = _facts(directory)
    licence = _licence(directory)
    if as_json:
        typer.echo(json.dumps({**facts, "licence": licence}))
        return
    for name, value in facts.items():
        typer.echo(f"{name:20} {value}")
    if licence:
        typer.echo(f"\n{licence}")


@models_app.command()
def verify(model: Model) -> None:
    """Check that a model's weights fit its config and that it calls a signal; exit status 1 if not."""
    from dataclasses import replace  # noqa: PLC0415
    from itertools import islice  # noqa: PLC0415

    from models.basecaller import call  # noqa: PLC0415
    from models.zoo import load  # noqa: PLC0415
    from reads.simulate import simulate_reads  # noqa: PLC0415

    with errors_as_lines("verify"):
        caller = load(model, "cpu")
        (simulated,) = islice(simulate_reads(seed=1, mean_bases=300), 1)
        read = simulated.read
        ((_, called),) = call(caller, [replace(read, sample_rate=caller.sample_rate or read.sample_rate)])
    typer.echo(f"{caller.name}: ok, {len(called.sequence)} bases called on {called.samples} samples")


def _facts(directory: Path) -> dict[str, str | int | float | bool]:
    from models.config import load_config  # noqa: PLC0415
    from models.cost import flops_per_sample  # noqa: PLC0415
    from models.weights import form_of, load_network  # noqa: PLC0415

    config = load_config(directory)
    network = load_network(directory, config.layers)
    return {
        "name": config.name,
        "directory": str(directory),
        "form": form_of(directory).value,
        "parameters": network.parameters_count,
        "flops_per_sample": round(flops_per_sample(config.layers)),
        "stride": config.stride,
        "decoder": "CTC-CRF" if config.state_len else "CTC",
        "states": 4**config.state_len,
        "beam_width": config.beam_width,
        "sample_rate_hz": config.sample_rate,
        "scaling": config.scaling.strategy,
        "trimmed": config.trims,
        "chunk_samples": config.chunk_samples,
        "overlap_samples": config.overlap,
        "batch_chunks": config.batch_chunks,
    }


def _licence(directory: Path) -> str | None:
    """Return the text of the licence that lies beside a model, None where there is none."""
    for path in sorted(directory.iterdir()):
        if path.stem.upper() in {"LICENSE", "LICENCE", "COPYING"} and path.is_file():
            return path.read_text(errors="replace").strip()
    return None
