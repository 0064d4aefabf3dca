"""Several devices as one caller: basecallers of one model, to which batches go in turn."""

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.basecall import Basecall
from models.caller import Caller, ChunkCall, Chunks
from reads.read import Read


class Fleet:
    """A caller whose batches its callers, which are alike, work on at once."""

    def __init__(self, callers: Sequence[Caller]) -> None:
        first = callers[0]
        self.name, self.sample_rate = first.name, first.sample_rate
        self.chunk_samples = first.chunk_samples
        self.batch_chunks = min(caller.batch_chunks for caller in callers)
        self.in_flight = sum(caller.in_flight for caller in callers)
        self._first = first
        self._turns = cycle(callers)

    def chunk(self, read: Read) -> Chunks:
        """Normalise and cut a read, as any of the callers does."""
        return self._first.chunk(read)

    def score(self, batch: NDArray[np.float32]) -> Any:
        """Have the next device evaluate the network."""
        caller = next(self._turns)
        return caller, caller.score(batch)

    def wait(self, scores: Any) -> None:
        """Wait for the device that has the batch."""
        caller, its = scores
        caller.wait(its)

    def decode(self, scores: Any) -> Sequence[ChunkCall]:
        """Decode where the batch was scored."""
        caller, its = scores
        calls: Sequence[ChunkCall] = caller.decode(its)
        return calls

    def stitch(self, chunks: Chunks, calls: Sequence[ChunkCall]) -> Basecall:
        """Join the calls of all of a read's chunks."""
        return self._first.stitch(chunks, calls)
