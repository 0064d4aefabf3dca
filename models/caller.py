"""What the service asks of anything that turns signal into bases, in the order data goes through it.

chunk (one read -> equal chunks) -> score (chunks of any reads -> scores) -> decode (scores -> chunk calls)
-> stitch (one read's chunk calls -> its basecall). Callers know neither requests nor queues, keep no state
between calls, and may be used from several threads at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.basecall import Basecall
from reads.read import Read


@dataclass(frozen=True, slots=True, eq=False)
class Chunks:
    """One read, normalised and cut: `samples` is float32 [chunks, chunk_samples], each row starting at the
    read's sample `starts[row]`; the last rows may be padded past `read_samples`."""

    samples: NDArray[np.float32]
    starts: NDArray[np.int64]
    read_samples: int

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True, slots=True, eq=False)
class ChunkCall:
    """One decoded chunk, one entry a step: `moves` 1 where a base was emitted, `bases` its code 0..3 (ACGT)
    and `phred` its quality there, 0 elsewhere. All uint8 [steps], `phred` float32 [steps]."""

    moves: NDArray[np.uint8]
    bases: NDArray[np.uint8]
    phred: NDArray[np.float32]


class Caller(Protocol):
    """A basecaller as its users see it."""

    @property
    def name(self) -> str:
        """The model's name, as in `fiveways models list`."""

    @property
    def sample_rate(self) -> float:
        """The sample rate of the reads it takes [Hz]; 0 where any will do."""

    @property
    def chunk_samples(self) -> int:
        """Samples in a chunk: what one row of a batch costs."""

    @property
    def batch_chunks(self) -> int:
        """The most chunks worth scoring at once."""

    @property
    def in_flight(self) -> int:
        """Batches worth scoring before the first of them is decoded; 0 where `score` does all the work."""

    def chunk(self, read: Read) -> Chunks:
        """Normalise and cut a read. Raises SampleRateError; a read of no samples has no chunks."""

    def score(self, batch: NDArray[np.float32]) -> Any:
        """Evaluate the network on `batch` [n, chunk_samples], n >= 1, for `wait` and `decode` to understand.

        May return before the device is done; raises DeviceError, as these do, where it fails.
        """

    def wait(self, scores: Any) -> None:
        """Return when the device has evaluated the network; the rest of the time is the decoder's."""

    def decode(self, scores: Any) -> Sequence[ChunkCall]:
        """Decode what `score` returned: one call a chunk, in order."""

    def stitch(self, chunks: Chunks, calls: Sequence[ChunkCall]) -> Basecall:
        """Join the calls of all of a read's chunks, in order."""
