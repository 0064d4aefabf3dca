"""`fiveways models`: what models there are, what one is, and whether a directory can be used."""

import json
from pathlib import Path
from typing import Annotated

import typer

models_app = typer.Typer(no_args_is_help=True, help="The models that can be used.")

Model = Annotated[str, typer.Argument(help="A shipped model's name, or a model directory.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@models_app.command("list")
def list_models(*, as_json: AsJson = False) -> None:
    """List the shipped models, the default one first."""
    from models.zoo import DEFAULT, names  # noqa: PLC0415 - torch is slow to import

    found = sorted(names(), key=lambda name: (name != DEFAULT, name))
    typer.echo(json.dumps({"default": DEFAULT, "models": found}) if as_json else "\n".join(found))


@models_app.command()
def show(model: Model, *, as_json: AsJson = False) -> None:
    """Print what a model is: its size, its cost, and the reads it takes."""
    facts = _facts(model)
    if as_json:
        typer.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        typer.echo(f"{name:20} {value}")


@models_app.command()
def verify(model: Model) -> None:
    """Check that a model's weights fit its config and that it calls a signal; exit status 1 if not."""
    from itertools import islice  # noqa: PLC0415

    from models.basecaller import call  # noqa: PLC0415
    from models.errors import ModelError  # noqa: PLC0415
    from models.zoo import load  # noqa: PLC0415
    from reads.simulate import simulate_reads  # noqa: PLC0415

    try:
        caller = load(model, "cpu")
        (simulated,) = islice(simulate_reads(seed=1, mean_bases=300), 1)
        ((_, called),) = call(caller, [simulated.read])
    except ModelError as error:
        typer.echo(f"fiveways models verify: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{caller.name}: ok, {len(called.sequence)} bases called on {called.samples} samples")


def _facts(model: str) -> dict[str, str | int | float]:
    from models.config import load_config  # noqa: PLC0415
    from models.cost import flops_per_sample  # noqa: PLC0415
    from models.errors import ModelError  # noqa: PLC0415
    from models.weights import load_network  # noqa: PLC0415
    from models.zoo import find  # noqa: PLC0415

    try:
        directory: Path = find(model)
        config = load_config(directory)
        network = load_network(directory, config.layers)
    except ModelError as error:
        typer.echo(f"fiveways models show: {error}", err=True)
        raise typer.Exit(1) from error
    return {
        "name": config.name,
        "directory": str(directory),
        "parameters": network.parameters_count,
        "flops_per_sample": round(flops_per_sample(config.layers)),
        "stride": config.stride,
        "states": 4**config.state_len,
        "sample_rate_hz": config.sample_rate,
        "scaling": config.scaling.strategy,
        "chunk_samples": config.chunk_samples,
        "overlap_samples": config.overlap,
        "batch_chunks": config.batch_chunks,
    }
