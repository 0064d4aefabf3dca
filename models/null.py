"""The null arm: the same bytes in and the same bytes out as a basecaller, with no network evaluated.

What is left is what the way costs: its ceiling.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.basecall import Basecall
from models.caller import ChunkCall, Chunks
from reads.read import Read

SAMPLES_PER_BASE = 9
"""4 kHz at about 450 bases/s: the length of the answer is that of a real one."""


class NullCaller:
    """Answers every read with a sequence of the right length and no meaning."""

    name = "null"
    sample_rate = 0.0
    chunk_samples = 1
    batch_chunks = 4096
    in_flight = 0

    def chunk(self, read: Read) -> Chunks:
        """Stand one empty chunk for the whole read."""
        count = min(1, len(read.signal))
        return Chunks(np.zeros((count, 1), np.float32), np.zeros(count, np.int64), len(read.signal))

    def score(self, batch: NDArray[np.float32]) -> Any:
        """Return how many chunks there are."""
        return len(batch)

    def wait(self, scores: Any) -> None:
        """There is no device."""

    def decode(self, scores: Any) -> Sequence[ChunkCall]:
        """Return that many empty calls."""
        nothing = ChunkCall(np.zeros(0, np.uint8), np.zeros(0, np.uint8), np.zeros(0, np.float32))
        return [nothing] * int(scores)

    def stitch(self, chunks: Chunks, calls: Sequence[ChunkCall]) -> Basecall:  # noqa: ARG002
        """Return a call as long as a real one: one base each SAMPLES_PER_BASE samples."""
        bases = chunks.read_samples // SAMPLES_PER_BASE
        return Basecall(
            sequence=("ACGT" * (bases // 4 + 1))[:bases],
            qstring="5" * bases,
            moves=np.ones(bases, np.uint8),
            stride=SAMPLES_PER_BASE,
            samples=chunks.read_samples,
        )
