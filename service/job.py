"""A job: one read on its way through the engines, from its admission to its basecall.

Its future is what the request waits for; a cancelled one means that nobody does. Engines of several devices
may work on one job at once. Knows neither requests nor queues nor devices.
"""

import threading
from collections import deque
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from enum import IntEnum

from models.basecall import Basecall
from models.caller import Caller, ChunkCall, Chunks
from reads.read import Read


class Priority(IntEnum):
    """How urgent a request is, the most urgent first."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


def cost_samples(samples: int, chunk_samples: int) -> int:
    """Return what a read costs to call, in samples: one shorter than a chunk costs a whole chunk."""
    return max(samples, chunk_samples)


class Job:
    """One read being called. `pending` are the rows of its chunks that no batch has yet."""

    def __init__(self, read: Read, *, cost_samples: int, priority: Priority, arrived_s: float) -> None:
        self.read = read
        self.cost_samples = cost_samples
        self.priority = priority
        self.arrived_s = arrived_s
        self.rank = arrived_s
        """When its turn is (`batch.rank`), as of when it was queued last."""
        self.outcome: Future[Basecall] = Future()
        self.pending: deque[range] = deque()
        self.compute_s = 0.0
        """Time of scoring the batches that it was in."""
        self.decode_s = 0.0
        """Time of decoding these, and of joining its calls."""
        self._chunks: Chunks | None = None
        self._calls: list[ChunkCall | None] = []
        self._missing = 0
        self._lock = threading.Lock()

    @property
    def chunks(self) -> Chunks:
        """Return its chunks, once it is open."""
        if self._chunks is None:
            raise RuntimeError("the job's read is not cut yet")
        return self._chunks

    @property
    def is_open(self) -> bool:
        """Return whether its read has been cut into chunks."""
        return self._chunks is not None

    @property
    def row_samples(self) -> float:
        """Return the share of the cost that one chunk stands for, in samples."""
        return self.cost_samples / max(1, len(self._calls))

    @property
    def rest_samples(self) -> float:
        """Return the cost of what no batch has yet, in samples."""
        if not self.is_open:
            return self.cost_samples
        return self.row_samples * sum(len(rows) for rows in self.pending)

    def open(self, caller: Caller) -> None:
        """Normalise the read and cut it into chunks. Raises what `caller` raises."""
        chunks = caller.chunk(self.read)
        self._calls = [None] * len(chunks)
        self._missing = len(chunks)
        self.pending.append(range(len(chunks)))
        self._chunks = chunks

    def take(self, most: int) -> range:
        """Return rows for a batch, 1 to `most` neighbours, which are then no longer pending."""
        rows = self.pending.popleft()
        if len(rows) > most:
            self.pending.appendleft(rows[most:])
        return rows[:most]

    def store(self, rows: range, calls: list[ChunkCall]) -> bool:
        """Keep the calls of `rows`; return whether these were the last."""
        with self._lock:
            self._calls[rows.start : rows.stop] = calls
            self._missing -= len(rows)
            return self._missing == 0

    def stitch(self, caller: Caller) -> Basecall:
        """Join the calls of all its chunks. Raises what `caller` raises."""
        return caller.stitch(self.chunks, [call for call in self._calls if call is not None])

    def answer(self, call: Basecall) -> None:
        """End with `call`, unless nobody waits for it any longer."""
        with suppress(InvalidStateError):
            self.outcome.set_result(call)

    def fail(self, error: Exception) -> None:
        """End with `error`, unless it has ended already or nobody waits for it any longer."""
        with suppress(InvalidStateError):
            self.outcome.set_exception(error)
