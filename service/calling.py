"""Reads from files -> calls, made in this process or through a service -> FASTQ, SAM or BAM.

One flow for both: the bytes that come out, and what is made of reads that cannot be called, are the same.
"""

import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from models.basecall import Basecall
from models.errors import ModelError
from models.rates import at_rate
from models.writer import STDOUT, CallFormat, CallWriter, call_format
from reads.errors import ReadError, ReadsError
from reads.files import ReadStream, open_reads
from reads.read import Read
from reads.search import STDIN
from service.call_progress import CallProgress, Summary
from service.client import Client

AUTO = "auto"
SHOWN_IDS = 5
"""How many of the ids that were not met are named."""


class UsageError(Exception):
    """What was asked for cannot be done by anyone; the message is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSettings:
    """What to call, by whom, and where the calls go. Without `urls`, it is this process that calls."""

    reads: list[Path]
    output: Path
    model: str = ""
    urls: tuple[str, ...] = ()
    device: str = AUTO
    read_ids: Path | None = None
    token_file: Path | None = None
    deadline_s: float = math.inf
    emit_moves: bool = False
    as_json: bool = False

    def __post_init__(self) -> None:
        if self.as_json and self.output == STDOUT:
            raise UsageError("--json prints on stdout, where the calls go already; give them a file with -o")
        if self.urls and self.device != AUTO:
            raise UsageError("--device is for calling in this process; a service has its own")
        if not self.urls and (self.token_file or self.deadline_s < math.inf):
            raise UsageError(
                "--token-file and --deadline-s are for calling through a service: name it, --url"
            )


@dataclass(frozen=True, slots=True)
class Caller:
    """A model by name, the sample rate of the reads that it takes [Hz] (0: any), and how reads are called."""

    name: str
    sample_rate: float
    call: Callable[[Iterable[Read]], Iterator[tuple[Read, Basecall]]]


@dataclass(slots=True)
class Problems:
    """What could not be called: one line each to `say`."""

    say: Callable[[str], None]
    count: int = field(default=0, init=False)

    def report(self, problem: Exception) -> None:
        """Say what could not be used."""
        self.count += 1
        self.say(str(problem))

    def report_read(self, read: Read, why: Exception) -> None:
        """Say which read was not called, and why."""
        self.report(ReadError(Path(read.origin.filename), read.read_id, str(why)))


def call_files(settings: CallSettings, say: Callable[[str], None]) -> Summary:
    """Call what `settings` name; `say` is told of what cannot be called, and that is counted.

    Raises UsageError before anything is called, ClientError, and OSError where nothing can be written.
    """
    problems = Problems(say)
    with ExitStack() as stack:
        try:
            form = CallFormat.FASTQ if settings.output == STDOUT else call_format(settings.output)
            wanted = settings.read_ids.read_text().split() if settings.read_ids else None
            stream = open_reads(settings.reads, read_ids=wanted, on_problem=problems.report)
            stack.enter_context(stream)
            caller = _remote(settings, stack, problems) if settings.urls else _local(settings)
        except (ReadsError, ModelError, ValueError, OSError) as error:
            raise UsageError(str(error)) from error
        progress = stack.enter_context(_progress(settings, stream))
        complete = False
        with CallWriter(settings.output, form, caller.name, with_moves=settings.emit_moves) as calls:
            callable_reads = at_rate(stream, caller.sample_rate, caller.name, problems.report)
            for read, call in caller.call(callable_reads):
                calls.write(read, call)
                progress.count(call, done_bytes=stream.done_bytes)
            complete = True
        if complete and stream.missing_ids:
            problems.report(UsageError(_missing(stream.missing_ids, settings)))
        return progress.summary(caller.name, not_called=problems.count)


def _local(settings: CallSettings) -> Caller:
    # Who calls through a service needs no torch.
    from models.basecaller import call  # noqa: PLC0415
    from models.zoo import DEFAULT, load  # noqa: PLC0415

    loaded = load(settings.model or DEFAULT, settings.device)
    return Caller(loaded.name, loaded.sample_rate, lambda reads: call(loaded, reads))


def _remote(settings: CallSettings, stack: ExitStack, problems: Problems) -> Caller:
    token = _token(settings.token_file) if settings.token_file else ""
    client = stack.enter_context(Client(settings.urls, token=token, deadline_s=settings.deadline_s))
    model = client.model(settings.model)
    return Caller(
        model.name,
        model.sample_rate,
        lambda reads: client.call(
            reads, model, with_moves=settings.emit_moves, on_problem=problems.report_read
        ),
    )


def _token(path: Path) -> str:
    # What is not text holds no token either.
    token = path.read_text(errors="replace").strip()
    if not token.isascii() or len(token.split()) != 1:
        raise UsageError(f"{path}: it is to hold one token, of visible ASCII characters")
    return token


def _progress(settings: CallSettings, stream: ReadStream) -> CallProgress:
    console = Console(stderr=True)
    # Calls that run over the same terminal are progress enough.
    visible = console.is_terminal and not (settings.output == STDOUT and sys.stdout.isatty())
    known = visible and STDIN not in settings.reads
    return CallProgress(console, total_bytes=(known and stream.total_bytes()) or None, visible=visible)


def _missing(ids: frozenset[str], settings: CallSettings) -> str:
    first = sorted(ids)[:SHOWN_IDS]
    return f"{settings.read_ids}: {len(ids)} of its ids were not met: {', '.join(first)}" + (
        ", ..." if len(ids) > len(first) else ""
    )
