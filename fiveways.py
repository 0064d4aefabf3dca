"""The command line: mounts the commands of the rooms, nothing else."""

import typer

from loadgen.cli import bench, report
from loadgen.cluster.cli import cluster
from models.cli import models_app
from models.evaluate import evaluate
from models.train_cli import train_app
from reads.cli import simulate
from service.call import call
from service.cli import serve

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command()(call)
app.command()(evaluate)
app.command()(serve)
bench.command()(cluster)
app.add_typer(bench, name="bench")
app.command()(report)
app.command()(simulate)
app.add_typer(models_app, name="models")
app.add_typer(train_app, name="train")


def main() -> None:
    """Run `fiveways`."""
    app()
