"""Decodes files in a process of its own that is restarted when it crashes, stalls or runs out of memory.

HDF5, Arrow and slow5lib trust the bytes they are given: damage can kill or hang the process that reads it.
Here that costs one read, or what follows a place that cannot be passed; never the caller.
"""

import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Collection, Generator, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from reads import frames
from reads.errors import ReadError, ReadFileError
from reads.limits import Limits
from reads.read import Read, Signal

STALL_S = 60.0
"""A decoder that says nothing for so long will never say anything: no read takes a second."""
DEFAULT_LIMITS = Limits()
_COMMAND = [sys.executable, "-P", "-m", "reads.decoder"]
_COMPLAINT_BYTES = 4096
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class _DecoderDiedError(Exception):
    """The process ended, stalled or sent nonsense; says which."""


class GuardedDecoder:
    """A decoder process, started by the first file and kept for the next. Not for several threads at once."""

    def __init__(
        self,
        read_ids: Collection[str] | None = None,
        *,
        stall_s: float = STALL_S,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._selection = None if read_ids is None else sorted(read_ids)
        self._stall_s = stall_s
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self.before = 0.0
        """The part of the present file that is done, 0 to 1, where its format can say."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process id of the decoder, while there is one."""
        return None if self._process is None else self._process.pid

    def decode(self, path: Path, *, known_as: Path) -> Generator[Read | ReadError | ReadFileError]:
        """Yield what is in a file: its reads, and an exception for each read or rest of it that is lost.

        `known_as` is what those exceptions call the file.
        """
        start, reads, over = 0, 0, False
        while not over:
            self.before = 0.0
            entry: dict[str, Any] | None = None
            in_step = False
            try:
                for message, samples in self._ask(path, start):
                    match message["is"]:
                        case "at":
                            entry, self.before = message, message["before"]
                        case "read":
                            entry, reads = None, reads + 1
                            yield frames.unpack_read(message, samples)
                        case "bad" if entry:
                            read_id, entry = entry["read_id"], None
                            yield ReadError(known_as, read_id, message["why"])
                        case "file":
                            yield ReadFileError(known_as, message["why"])
                in_step = over = True
            except _DecoderDiedError as death:
                if entry is None:
                    over = True
                    yield ReadFileError(known_as, f"after read {reads}, {death}" if reads else str(death))
                else:
                    start = entry["index"] + 1
                    yield ReadError(known_as, entry["read_id"], str(death))
            finally:
                if not in_step:  # what it still sends would be taken for the next file's
                    self.close()

    def close(self) -> None:
        """End the decoder; the next file starts another."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None
        with suppress(BrokenPipeError):  # it may hold a request that a dead decoder did not take
            self._requests.close()
        os.close(self._answers)
        self._complaints.close()

    def _start(self) -> None:
        # Our own pipes: an event loop that replaces subprocess must not change how they are read.
        child_reads, requests = os.pipe()
        self._answers, child_writes = os.pipe()
        self._requests = os.fdopen(requests, "wb")
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  closed by close()
        try:
            self._process = subprocess.Popen(  # noqa: S603  our own module, no shell
                _COMMAND, stdin=child_reads, stdout=child_writes, stderr=self._complaints, process_group=0
            )
        finally:
            os.close(child_reads)
            os.close(child_writes)
        self._request({"read_ids": self._selection, "limits": asdict(self._limits)})

    def _request(self, message: Any) -> None:
        self._requests.write(json.dumps(message).encode() + b"\n")
        self._requests.flush()

    def _ask(self, path: Path, start: int) -> Iterator[tuple[dict[str, Any], Signal]]:
        try:
            if self._process and self._process.poll() is not None:
                self.close()  # it died between files: this one has nothing to do with it
            if self._process is None:
                self._start()
            self._complaints.seek(0)
            self._complaints.truncate()
            self._request({"path": os.fspath(path), "start": start})
        except BrokenPipeError:
            raise _DecoderDiedError(self._last_words()) from None
        while True:
            message, samples = self._receive()
            if message["is"] == "end":
                return
            yield message, samples

    def _receive(self) -> tuple[dict[str, Any], Signal]:
        prefix = bytearray(frames.PREFIX_BYTES)
        self._fill(memoryview(prefix))
        try:
            message_bytes, signal_samples = frames.unpack_lengths(bytes(prefix))
            text, samples = bytearray(message_bytes), np.empty(signal_samples, np.int16)
            self._fill(memoryview(text))
            self._fill(samples.view(np.uint8).data)
            message: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise _DecoderDiedError(f"the decoder sent nonsense: {error}") from error
        return message, samples

    def _fill(self, buffer: memoryview) -> None:
        readable = select.poll()
        readable.register(self._answers, select.POLLIN)
        while buffer:
            if not readable.poll(self._stall_s * 1000):
                raise _DecoderDiedError(f"the decoder said nothing for {self._stall_s:g} s")
            count = os.readv(self._answers, [buffer])
            if count == 0:
                raise _DecoderDiedError(self._last_words())
            buffer = buffer[count:]

    def _last_words(self) -> str:
        """Return how the decoder ended and what its library complained of."""
        if self._process is None:
            return "the decoder did not start"
        status = self._process.wait()
        how = f"ended with status {status}" if status >= 0 else f"crashed ({signal.Signals(-status).name})"
        self._complaints.seek(0)
        text = _ANSI.sub("", self._complaints.read(_COMPLAINT_BYTES).decode(errors="replace"))
        lines = text.strip().splitlines()
        complaint = next((line for line in lines if "ERROR" in line), lines[-1] if lines else "")
        return f"the decoder {how}{': ' if complaint else ''}{complaint}"
