"""The basecaller: normalise -> chunk -> batch -> network -> decode -> stitch -> call, in this order.

A read's call depends on that read alone: not on what else is in a batch, nor on the order of arrival.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.basecall import Basecall
from models.caller import Caller, ChunkCall, Chunks
from models.chunks import cut, stitch
from models.config import ModelConfig
from models.decode import chunk_calls, decode_chunk
from models.device import LANES, DeviceEngine, device_engine
from models.errors import SampleRateError
from models.native.native import NativeNetwork, native
from models.network import Network
from models.scaling import scaled, strand_start
from reads.cores import usable_cores
from reads.read import Read

ROWS_PER_STREAM = 4
"""Chunks from which on a core's stream is near its full speed."""


class Basecaller:
    """A trained network with the scaling, cutting and decoding that its config names; see `Caller`."""

    def __init__(
        self,
        config: ModelConfig,
        network: Network,
        device: torch.device,
        *,
        precise: bool = False,
        batch_rows: int | None = None,
    ) -> None:
        """Take a fused network; `precise` keeps to PyTorch's float32 on devices that know a faster way, and
        `batch_rows` are the chunks of a GPU's batches, where not as many as are thought best."""
        self.config = config
        self._network = network.eval()
        self._engine: DeviceEngine | None = None
        self._native: NativeNetwork | None = None
        # Recurrent steps are too small to share among cores: one single-threaded stream a core is faster,
        # and does not collapse when something else wants a core.
        self._streams = usable_cores()
        if device.type != "cpu":
            self._engine = device_engine(network, config, device, precise=precise, rows=batch_rows)
        else:
            torch.set_num_threads(1)
            self._native = None if precise else native(network)
        self._pool = ThreadPoolExecutor(usable_cores(), thread_name_prefix="basecall")

    @property
    def name(self) -> str:
        """The model's name."""
        return self.config.name

    @property
    def sample_rate(self) -> float:
        """The sample rate of the reads it was trained on [Hz]."""
        return self.config.sample_rate

    @property
    def chunk_samples(self) -> int:
        """Samples in a chunk."""
        return self.config.chunk_samples

    @property
    def batch_chunks(self) -> int:
        """The most chunks worth scoring at once."""
        if self._engine:
            return self._engine.rows
        return max(self.config.batch_chunks, self._streams * ROWS_PER_STREAM)

    @property
    def in_flight(self) -> int:
        """Batches worth scoring before the first of them is decoded."""
        return LANES if self._engine else 0

    def chunk(self, read: Read) -> Chunks:
        """Normalise, trim and cut a read; SampleRateError where it was not sampled at the model's rate."""
        if read.sample_rate != self.sample_rate:
            raise SampleRateError(
                f"read {read.read_id} was sampled at {read.sample_rate:g} Hz, "
                f"model {self.name} takes {self.sample_rate:g} Hz"
            )
        config = self.config
        signal = scaled(read, config.scaling)
        if config.trims:
            signal = signal[strand_start(signal, config.scaling) :]
        return cut(signal, config.chunk_samples, config.overlap, config.grid_samples)

    @torch.inference_mode()
    def score(self, batch: NDArray[np.float32]) -> Any:
        """Evaluate the network on [n, chunk_samples]: scores, float32 [n, T, ...]; or have a device begin."""
        if self._engine:
            return self._engine.launch(batch)
        shares = np.array_split(batch, min(self._streams, len(batch)))
        if self._native:
            scores = self._native.scores(*batch.shape)
            list(self._pool.map(self._native.score, shares, np.array_split(scores, len(shares))))
            return torch.from_numpy(scores)
        return torch.cat(list(self._pool.map(self._score_share, shares)))

    @torch.inference_mode()
    def _score_share(self, share: NDArray[np.float32]) -> torch.Tensor:
        # A product with a single row takes another kernel, which rounds otherwise: a chunk alone goes in
        # twice, so that its scores do not tell whether it had company.
        rows = share if len(share) > 1 else np.repeat(share, 2, axis=0)
        # A copy, as torch's memory begins at a cache line: see `models.config`.
        out: torch.Tensor = self._network(torch.from_numpy(rows)[:, None].clone())
        return out[: len(share)]

    def wait(self, scores: Any) -> None:
        """Wait for a device to have evaluated the network."""
        if self._engine:
            self._engine.wait(scores)

    def decode(self, scores: Any) -> Sequence[ChunkCall]:
        """Decode scores of chunks, a chunk a core at a time; or wait for a device, which decodes all at
        once."""
        if self._engine:
            return chunk_calls(self._engine.told(scores), self.config, self._pool.map)
        return list(self._pool.map(lambda chunk: decode_chunk(chunk, self.config), scores.numpy()))

    def stitch(self, chunks: Chunks, calls: Sequence[ChunkCall]) -> Basecall:
        """Join the calls of all of a read's chunks."""
        return stitch(chunks, calls, self.config.stride, self.config.q_start)


def call(caller: Caller, reads: Iterable[Read]) -> Iterator[tuple[Read, Basecall]]:
    """Call reads lazily and in order, with batches filled across them.

    Raises SampleRateError at the read at fault.
    """
    waiting: list[tuple[Read, Chunks, list[ChunkCall]]] = []
    rows: list[NDArray[np.float32]] = []
    owners: list[list[ChunkCall]] = []
    flying: deque[tuple[list[list[ChunkCall]], Any]] = deque()

    def launch(count: int) -> None:
        flying.append((owners[:count], caller.score(np.stack(rows[:count]))))
        del rows[:count], owners[:count]

    def land(most: int) -> None:
        while len(flying) > most:
            landed, scores = flying.popleft()
            for owner, chunk_call in zip(landed, caller.decode(scores), strict=True):
                owner.append(chunk_call)

    def finished() -> Iterator[tuple[Read, Basecall]]:
        while waiting and len(waiting[0][2]) == len(waiting[0][1]):
            read, chunks, calls = waiting.pop(0)
            yield read, caller.stitch(chunks, calls)

    for read in reads:
        chunks = caller.chunk(read)
        calls: list[ChunkCall] = []
        waiting.append((read, chunks, calls))
        rows.extend(chunks.samples)
        owners.extend([calls] * len(chunks))
        while len(rows) >= caller.batch_chunks:
            launch(caller.batch_chunks)
            land(caller.in_flight)
        yield from finished()
    if rows:
        launch(len(rows))
    land(0)
    yield from finished()
