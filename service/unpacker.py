"""Bodies of many reads to reads: each is decoded in a guarded process, within the limits of the settings.

What comes here came from anybody. HDF5, Arrow and the codecs run in processes that may crash; memory for what
they decompress is asked for as it grows.
"""

import asyncio
import os
import queue
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from reads.errors import ReadError, ReadFileError
from reads.guard import GuardedDecoder
from reads.limits import Limits
from reads.read import Read
from reads.validity import MAX_SIGNAL_SAMPLES
from service.answers import Refusal
from service.errors import ClientGoneError, ImpossibleRequestError, MalformedRequestError, TooLargeError
from service.settings import Settings

DECODERS = 2
"""Bodies that are decoded at once."""
DECODE_S = 60.0
"""How long the decoding of one body may take."""
STALL_S = 30.0
"""How long a decoder may say nothing: a good one takes milliseconds a read, and a second to start."""
DECODER_BYTES = 256 << 20
"""Memory that a decoder may take beyond its libraries, and beyond SAMPLE_BYTES for each sample of the longest
read: what damage asks for is refused by the system."""
SAMPLE_BYTES = 8
GROW_SAMPLES = 1_000_000
"""Samples after which more memory is asked for."""
GROW_S = 30.0
"""How long the event loop may take to say whether there is memory."""

Grow = Callable[[int], None]
"""Told, in the event loop, how many samples there are by now; raises what ends the decoding."""


@dataclass(slots=True)
class Unpacked:
    """The reads of a body, and those that cannot be called. Its ids are all different."""

    reads: list[Read] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    samples: int = 0

    @property
    def count(self) -> int:
        """Return how many reads were found."""
        return len(self.reads) + len(self.refusals)


class Unpacker:
    """Some decoder processes, started when they are first needed. A context manager: they end with it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        memory_bytes = DECODER_BYTES + SAMPLE_BYTES * settings.max_read_samples
        limits = Limits(min(settings.max_read_samples, MAX_SIGNAL_SAMPLES), memory_bytes)
        self._decoders = [GuardedDecoder(stall_s=STALL_S, limits=limits) for _ in range(DECODERS)]
        self._idle: queue.SimpleQueue[GuardedDecoder] = queue.SimpleQueue()
        self._workers = ThreadPoolExecutor(DECODERS, thread_name_prefix="unpacker")
        self._stopping = threading.Event()

    def __enter__(self) -> Self:
        for decoder in self._decoders:
            self._idle.put(decoder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for decoder in self._decoders:
            # The thread that waits for it gets an error instead; it must not be waited for until it stalls.
            if decoder.pid:
                os.kill(decoder.pid, signal.SIGKILL)
        self._workers.shutdown(cancel_futures=True)
        for decoder in self._decoders:
            decoder.close()

    async def unpack(self, body: bytearray, name: str, grow: Grow) -> Unpacked:
        """Return the reads of `body`, which is empty afterwards. What is lost of it unnamed is called `name`.

        Raises MalformedRequestError where it has no reads, ImpossibleRequestError where it has none that can
        be called, TooLargeError, and what `grow` raises.
        """
        loop = asyncio.get_running_loop()
        left = threading.Event()

        async def ask(samples: int) -> None:
            # Who has left has given its memory back, and must not be given any more.
            if left.is_set():
                raise ClientGoneError
            grow(samples)

        def grow_from_thread(samples: int) -> None:
            asyncio.run_coroutine_threadsafe(ask(samples), loop).result(GROW_S)

        try:
            return await loop.run_in_executor(self._workers, self._unpack, body, name, grow_from_thread, left)
        finally:
            left.set()

    def _unpack(self, body: bytearray, name: str, grow: Grow, left: threading.Event) -> Unpacked:
        decoder = self._idle.get()
        try:
            with tempfile.NamedTemporaryFile(prefix="fiveways-") as file:
                file.write(body)
                file.flush()
                body.clear()
                path = Path(file.name)
                with closing(decoder.decode(path, known_as=Path("body"))) as items:
                    return self._collect(items, name, grow, left)
        finally:
            self._idle.put(decoder)

    def _collect(
        self,
        items: Iterable[Read | ReadError | ReadFileError],
        name: str,
        grow: Grow,
        left: threading.Event,
    ) -> Unpacked:
        unpacked = Unpacked()
        give_up_s = time.monotonic() + DECODE_S
        granted_samples = 0
        ids: set[str] = set()
        lost = ""
        for item in items:
            if left.is_set() or self._stopping.is_set():
                raise ClientGoneError
            if time.monotonic() > give_up_s:
                raise ImpossibleRequestError(f"the body could not be decoded within {DECODE_S:g} s")
            if isinstance(item, ReadFileError):
                lost = item.why
            elif isinstance(item, ReadError):
                unpacked.refusals.append(Refusal(item.read_id, ImpossibleRequestError(item.why)))
            elif item.read_id in ids:
                twice = ImpossibleRequestError("a read of this id came before in the same body")
                unpacked.refusals.append(Refusal(item.read_id, twice))
            else:
                ids.add(item.read_id)
                # The name of our own temporary file is nobody's business.
                unpacked.reads.append(replace(item, origin=replace(item.origin, filename="")))
                unpacked.samples += len(item.signal)
            self._check(unpacked)
            if unpacked.samples > granted_samples:
                most = self._settings.max_request_samples
                granted_samples = min(most, unpacked.samples + GROW_SAMPLES)
                grow(granted_samples)
        # Not before all was heard: a decoder that is left in the middle has to be started again.
        if lost and not unpacked.count:
            raise MalformedRequestError(f"the body has no reads that can be found: {lost}")
        if lost:
            unpacked.refusals.append(Refusal(name, ImpossibleRequestError(f"the rest: {lost}")))
        return unpacked

    def _check(self, unpacked: Unpacked) -> None:
        settings = self._settings
        if unpacked.count > settings.max_request_reads:
            raise TooLargeError(
                f"the body has more than {settings.max_request_reads} reads; send fewer a request"
            )
        if unpacked.samples > settings.max_request_samples:
            raise TooLargeError(
                f"the body's reads have more than {settings.max_request_samples} samples together; "
                "send fewer a request"
            )
