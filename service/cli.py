"""`fiveways serve`: flags and FIVEWAYS_* variables to settings, and the exit status."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.settings import Settings, SettingsError

if TYPE_CHECKING:
    from models.caller import Caller

DEFAULTS = Settings()


def _option(name: str, help_: str, *short: str) -> Any:
    """Return an option that is a variable as well."""
    variable = "FIVEWAYS_" + name.removeprefix("--").replace("-", "_").upper()
    return typer.Option(name, *short, envvar=variable, help=help_, show_envvar=False)


def serve(
    model: Annotated[
        str, _option("--model", "A shipped model's name, or a model directory.", "-m")
    ] = DEFAULTS.model,
    device: Annotated[
        str, _option("--device", "auto, cpu, or cuda:N, several with commas between.")
    ] = DEFAULTS.device,
    host: Annotated[
        str, _option("--host", "The address to listen on; 0.0.0.0 or :: for all.")
    ] = DEFAULTS.host,
    port: Annotated[int, _option("--port", "The port to listen on; 0 for a free one.")] = DEFAULTS.port,
    fd: Annotated[
        list[int] | None,
        _option("--fd", "A listening socket that was inherited, instead of host and port; repeatable."),
    ] = None,
    max_read_samples: Annotated[
        int, _option("--max-read-samples", "The longest read, in samples.")
    ] = DEFAULTS.max_read_samples,
    max_request_reads: Annotated[
        int, _option("--max-request-reads", "Reads in one request.")
    ] = DEFAULTS.max_request_reads,
    max_signal_mib: Annotated[
        int, _option("--max-signal-mib", "Memory for signal that is not answered yet, in MiB.")
    ] = DEFAULTS.max_signal_mib,
    max_backlog_s: Annotated[
        float, _option("--max-backlog-s", "The longest wait that requests are admitted to, in seconds.")
    ] = DEFAULTS.max_backlog_s,
    max_per_client: Annotated[
        int, _option("--max-per-client", "Requests of one client in flight.")
    ] = DEFAULTS.max_per_client,
    max_connections: Annotated[
        int, _option("--max-connections", "Open connections.")
    ] = DEFAULTS.max_connections,
    max_header_bytes: Annotated[
        int, _option("--max-header-bytes", "The longest head of a request, in bytes.")
    ] = DEFAULTS.max_header_bytes,
    header_s: Annotated[
        float, _option("--header-s", "Seconds for a request's head to arrive.")
    ] = DEFAULTS.header_s,
    upload_s: Annotated[float, _option("--upload-s", "Seconds for a body to arrive.")] = DEFAULTS.upload_s,
    answer_s: Annotated[
        float, _option("--answer-s", "Seconds for an answer to be taken.")
    ] = DEFAULTS.answer_s,
    drain_s: Annotated[
        float, _option("--drain-s", "Seconds to finish what is in flight when stopped.")
    ] = DEFAULTS.drain_s,
    tokens: Annotated[
        Path | None, _option("--tokens", "A file of the bearer tokens that may call, one a line.")
    ] = None,
    tls_cert: Annotated[
        Path | None, _option("--tls-cert", "A certificate with its chain, in PEM: serve HTTPS.")
    ] = None,
    tls_key: Annotated[Path | None, _option("--tls-key", "The certificate's key, in PEM.")] = None,
    log_level: Annotated[str, _option("--log-level", "debug, info, warning or error.")] = DEFAULTS.log_level,
) -> None:
    """Serve basecalls over HTTP until SIGTERM or Ctrl-C; a second one stops at once.

    Every option is an environment variable too: --max-backlog-s is FIVEWAYS_MAX_BACKLOG_S.
    """
    try:
        settings = Settings(
            model=model,
            device=device,
            host=host,
            port=port,
            fds=tuple(fd or ()),
            max_read_samples=max_read_samples,
            max_request_reads=max_request_reads,
            max_signal_mib=max_signal_mib,
            max_backlog_s=max_backlog_s,
            max_per_client=max_per_client,
            max_connections=max_connections,
            max_header_bytes=max_header_bytes,
            header_s=header_s,
            upload_s=upload_s,
            answer_s=answer_s,
            drain_s=drain_s,
            tokens=tokens,
            tls_cert=tls_cert,
            tls_key=tls_key,
            log_level=log_level,
        )
    except SettingsError as error:
        typer.echo(f"fiveways serve: {error}", err=True)
        raise typer.Exit(2) from error

    from service.logs import set_up_logs  # noqa: PLC0415 - keeps `fiveways --help` quick
    from service.server import ServeError, run  # noqa: PLC0415

    set_up_logs(settings.log_level)
    try:
        status = run(settings, _load, _announce)
    except ServeError as error:
        typer.echo(f"fiveways serve: {error}", err=True)
        raise typer.Exit(error.status) from error
    raise typer.Exit(status)


def _load(model: str, device: str) -> "Caller":
    from models.zoo import DEFAULT, load  # noqa: PLC0415 - the service answers while torch is imported

    return load(model or DEFAULT, device)


def _announce(model: str, urls: Sequence[str]) -> None:
    typer.echo(f"fiveways: {model} is ready on {', '.join(urls)}", err=True)
