"""Calls written as they come: FASTQ, SAM or BAM, to a file that appears whole or not at all, or to stdout.

A SAM header names every run, and runs are only met as reads are: a file's header is completed at the end. On
stdout it names the first read's run, and reads of other runs go without a read group.
"""

import os
import select
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import TracebackType
from typing import BinaryIO, Self

import pysam

from models.basecall import Basecall
from models.records import ReadGroup, fastq_record, read_group, sam_header, sam_record
from reads.atomic import replacing
from reads.read import Read

STDOUT = Path("-")
"""The path that stands for standard output."""


class CallFormat(Enum):
    """How calls are written; the values are what names of files end in."""

    FASTQ = ".fastq"
    SAM = ".sam"
    BAM = ".bam"


def call_format(path: Path) -> CallFormat:
    """Return the format that the name of a file asks for. Raises ValueError."""
    try:
        return CallFormat(path.suffix.lower().replace(".fq", ".fastq"))
    except ValueError:
        known = ", ".join(form.value for form in CallFormat)
        raise ValueError(f"{path}: calls are written to files that end in {known}") from None


class CallWriter:
    """Writes the calls of one model to `target`, a file or STDOUT, one after another.

    When nobody reads stdout any more, `write` raises BrokenPipeError and the `with` block ends in silence.
    """

    def __init__(self, target: Path, form: CallFormat, model: str, *, with_moves: bool = False) -> None:
        self._target = target
        self._format = form
        self._model = model
        self._with_moves = with_moves
        self._groups: dict[str, ReadGroup] = {}
        self._header = ""
        self._header_groups: frozenset[str] = frozenset()
        self._records: _TextRecords | _BamRecords | None = None
        self._nobody_reads = False
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            if self._target == STDOUT:
                sys.stdout.flush()
                opening.push(self._forgive)
                self._file: BinaryIO = opening.enter_context(os.fdopen(os.dup(1), "wb"))
            else:
                self._written = opening.enter_context(replacing(self._target))
                self._file = opening.enter_context(self._written.open("wb"))
            opening.push(self._finish)
            self._opened = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return bool(self._opened.__exit__(kind, error, trace))

    def write(self, read: Read, call: Basecall) -> None:
        """Write a call. Raises BrokenPipeError where nobody reads it, OSError where it cannot be written."""
        group = read_group(read.origin, self._model)
        if group:
            group = self._groups.setdefault(group.name, group)
        with self._noticing():
            records = self._begun()
            if self._format is CallFormat.FASTQ:
                records.write(fastq_record(read, call, group, with_moves=self._with_moves))
                return
            if self._target == STDOUT and group and group.name not in self._header_groups:
                group = None  # its header has gone already, and a group must be in it
            records.write(sam_record(read, call, group, with_moves=self._with_moves))

    def _begun(self) -> "_TextRecords | _BamRecords":
        if self._records is None:
            self._header_groups = frozenset(self._groups)
            self._header = self._present_header()
            kind = _BamRecords if self._format is CallFormat.BAM else _TextRecords
            self._records = kind(self._file, self._header)
        return self._records

    def _present_header(self) -> str:
        if self._format is CallFormat.FASTQ:
            return ""
        return sam_header(self._groups.values(), version=version("fiveways"))

    def _finish(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        with self._noticing():
            if error is None:
                self._begun().close()
                if self._target != STDOUT and self._present_header() != self._header:
                    self._complete_header()
            elif self._records:
                self._records.close()

    def _complete_header(self) -> None:
        """Put the records, as the bytes they are, under a header that names every run."""
        with replacing(self._written) as complete:
            if self._format is CallFormat.BAM:
                with NamedTemporaryFile("w", suffix=".sam") as header:
                    header.write(self._present_header())
                    header.flush()
                    pysam.reheader("--no-PG", header.name, str(self._written), save_stdout=str(complete))
            else:
                with self._written.open("rb") as begun, complete.open("wb") as file:
                    begun.seek(len(self._header.encode()))
                    file.write(self._present_header().encode())
                    shutil.copyfileobj(begun, file)

    @contextmanager
    def _noticing(self) -> Iterator[None]:
        """Turn any failure to write to a pipe that nobody reads into BrokenPipeError, and remember it."""
        try:
            yield
        except OSError as error:
            watch = select.poll()
            watch.register(self._file.fileno(), 0)
            self._nobody_reads = self._target == STDOUT and bool(watch.poll(0))
            if self._nobody_reads:
                raise BrokenPipeError from error
            raise

    def _forgive(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        return self._nobody_reads and isinstance(error, BrokenPipeError)


class _TextRecords:
    def __init__(self, file: BinaryIO, header: str) -> None:
        self._file = file
        self._file.write(header.encode())

    def write(self, record: str) -> None:
        self._file.write(record.encode())
        self._file.flush()  # who follows the output sees each call when it is made

    def close(self) -> None:
        self._file.flush()


class _BamRecords:
    def __init__(self, file: BinaryIO, header: str) -> None:
        self._verbosity = pysam.set_verbosity(0)  # htslib reports failures on stderr; they are raised as well
        self._file = pysam.AlignmentFile(file, "wb", header=pysam.AlignmentHeader.from_text(header))

    def write(self, record: str) -> None:
        self._file.write(pysam.AlignedSegment.fromstring(record.rstrip("\n"), self._file.header))

    def close(self) -> None:
        self._file.close()
        pysam.set_verbosity(self._verbosity)
