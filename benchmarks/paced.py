"""A model whose device takes the same time for every batch, however full, and none of the machine's cores.

So a GPU looks to its host: what is measured with it is the service, and its capacity is known. A call depends
on its read's signal, and on nothing else.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.basecall import Basecall
from models.caller import ChunkCall, Chunks
from models.chunks import cut, stitch
from reads.read import Read

STRIDE = 10
OVERLAP = 400


class MeanCaller:
    """Calls a base every STRIDE samples, whatever the company: the mean of these, rounded, modulo 4."""

    in_flight = 0

    def score(self, batch: NDArray[np.float32]) -> Any:
        """Return the means."""
        return batch.reshape(len(batch), -1, STRIDE).mean(2)

    def wait(self, scores: Any) -> None:
        """Nothing is left to wait for."""

    def decode(self, scores: Any) -> Sequence[ChunkCall]:
        """Call a base from each mean."""
        return [
            ChunkCall(
                moves=np.ones(len(means), np.uint8),
                bases=(np.round(means).astype(np.int64) % 4).astype(np.uint8),
                phred=np.full(len(means), 20, np.float32),
            )
            for means in scores
        ]

    def stitch(self, chunks: Chunks, calls: Sequence[ChunkCall]) -> Basecall:
        """Join the calls."""
        return stitch(chunks, calls, STRIDE)


class PacedCaller(MeanCaller):
    """Takes `batch_s` for a batch."""

    name = "paced"
    sample_rate = 4000.0
    chunk_samples = 4000
    batch_chunks = 64

    def __init__(self, batch_s: float) -> None:
        self._batch_s = batch_s

    @property
    def samples_per_s(self) -> float:
        """Return how many samples it calls in a second, in full batches of long reads."""
        return self.batch_chunks * (self.chunk_samples - OVERLAP) / self._batch_s

    def chunk(self, read: Read) -> Chunks:
        """Cut the read."""
        return cut(read.signal.astype(np.float32), self.chunk_samples, OVERLAP, STRIDE)

    def score(self, batch: NDArray[np.float32]) -> Any:
        """Take the time, and return the means."""
        time.sleep(self._batch_s)
        return super().score(batch)
