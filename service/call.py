"""`fiveways call`: options to settings, what goes wrong to one line and an exit status."""

import math
from pathlib import Path
from typing import Annotated

import typer

INTERRUPTED = 130


def call(
    reads: Annotated[list[Path], typer.Argument(help="Files, folders (searched), or - for standard input.")],
    model: Annotated[
        str,
        typer.Option(
            "-m", "--model", help="A shipped model's name, or a model directory; a name with --url."
        ),
    ] = "",
    url: Annotated[
        list[str] | None,
        typer.Option(help="Call through the service at http://HOST:PORT; repeatable, once for each replica."),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help=".fastq, .sam or .bam; - writes FASTQ to stdout.")
    ] = Path("-"),
    device: Annotated[str, typer.Option(help="auto, cpu, or cuda:N, several with commas between.")] = "auto",
    read_ids: Annotated[
        Path | None, typer.Option(help="Call only the reads whose ids this file lists, one a line.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="A file that holds the bearer token, where the service asks for one.")
    ] = None,
    deadline_s: Annotated[
        float, typer.Option(min=0.001, help="Seconds after which the service is to give a read up.")
    ] = math.inf,
    *,
    emit_moves: Annotated[bool, typer.Option("--emit-moves", help="Write the move table, tag mv.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON on stdout.")] = False,
) -> None:
    """Call reads, in this process or, with --url, through a service.

    What cannot be called is one line on stderr and everything else is called: exit status 1 says that there
    was such a thing.
    """
    import json  # noqa: PLC0415 - keeps `fiveways --help` quick

    from models.errors import DeviceError  # noqa: PLC0415
    from service.calling import CallSettings, UsageError, call_files  # noqa: PLC0415
    from service.client_errors import ClientError, NotServedError  # noqa: PLC0415

    try:
        settings = CallSettings(
            reads=reads,
            output=output,
            model=model,
            urls=tuple(url or ()),
            device=device,
            read_ids=read_ids,
            token_file=token_file,
            deadline_s=deadline_s,
            emit_moves=emit_moves,
            as_json=as_json,
        )
        summary = call_files(settings, _say)
    except KeyboardInterrupt as error:
        _say("interrupted")
        raise typer.Exit(INTERRUPTED) from error
    except (UsageError, NotServedError) as error:
        _say(str(error))
        raise typer.Exit(2) from error
    except (ClientError, DeviceError, OSError) as error:
        _say(str(error))
        raise typer.Exit(1) from error
    _say(str(summary))
    if as_json:
        typer.echo(json.dumps(summary.document()))
    raise typer.Exit(1 if summary.not_called else 0)


def _say(line: str) -> None:
    typer.echo(f"fiveways call: {line}", err=True)
