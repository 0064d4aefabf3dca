"""The device engine: batches in flight on a GPU, from signal on the host to what is told of their steps.

A lane is a stream with tensors at fixed places, through which a batch goes: signal, scores, what is told.
Batches take the lanes in turn: one is copied or decoded while another is evaluated. Who launches waits for
nothing, and who wants to know for an event. All batches have one shape, however many rows are in them, so
that a row's kernels and their rounding do not depend on its company. Each fast way (kernels, a recorded
graph, a large batch) is tried at the start, and left with a logged line where it fails or tells otherwise
than the plain one. On the CPU, streams and events are torch's, which do nothing: the same code. Knows neither
reads nor calls.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models import batch_decode
from models.config import ModelConfig
from models.decode import Scans, device_rows, tell
from models.errors import device_failures

logger = logging.getLogger(__name__)

MOST_ROWS = 1024
"""Chunks in a batch: each step of an LSTM is a product with so many rows."""
ROWS_MULTIPLE = 32
"""Of rows, that tiles of matrix units are full."""
LANES = 2
"""Batches in flight: one is evaluated while another comes, is decoded, or goes."""
SAMPLE_ROWS = 4
"""Rows on which ways to decode are compared: the plain one is slow."""
NEAR, MOST_AWAY = 0.1, 0.02
"""Two ways agree where all but this share of their numbers are this near: much hangs on rounding in noise."""
HALF_SINCE = (7, 0)
"""The first CUDA capability with matrix units, for which 16 bits are faster than 32."""

_starting = threading.Lock()
"""Engines of several devices start at once, but compile and record one after another."""

Told = tuple[Tensor, ...]
Decode = Callable[[Tensor], Told]
Work = Callable[[], None]
Record = Callable[[Work, Any, Any], Work]
"""Records work on a stream, in a pool of memory, and returns what replays it."""


@dataclass(frozen=True, slots=True, eq=False)
class Flight:
    """Up to a batch on its way: what will be told of it, on the host, and the events after its network and at
    its end."""

    told: Told
    scored: Any
    done: Any


def device_engine(
    network: nn.Module, config: ModelConfig, device: torch.device, *, precise: bool, rows: int | None = None
) -> "DeviceEngine":
    """Return the engine of a model; `precise` keeps to float32."""
    is_cuda = device.type == "cuda"
    if precise:
        torch.backends.cudnn.allow_tf32 = False
    scans: list[Scans] = [*(kernels(config) if is_cuda else ()), batch_decode]
    return DeviceEngine(
        network,
        [partial(tell, config=config, scans=one) for one in scans],
        device,
        rows=rows or batch_rows(config),
        samples=config.chunk_samples,
        kind=torch.float32 if precise else precision(device),
        record=record_graph if is_cuda else None,
    )


def batch_rows(config: ModelConfig) -> int:
    """Return how many chunks are worth evaluating at once on a GPU, and fit one of 24 GiB with all that is in
    flight; fewer are tried where they do not."""
    states = 4**config.state_len if config.state_len else 5
    fitting = min(MOST_ROWS, device_rows(config.chunk_samples // config.stride, states))
    return max(config.batch_chunks, fitting // ROWS_MULTIPLE * ROWS_MULTIPLE)


def kernels(config: ModelConfig) -> list[Scans]:
    """Return the kernels for a model's lattice, if any: it is torch for CUDA that brings triton."""
    try:
        from models import lattice_kernels  # noqa: PLC0415 - not on every machine
    except ImportError:
        return []
    return [lattice_kernels] if 4**config.state_len >= lattice_kernels.LEAST_STATES else []


def precision(device: torch.device) -> torch.dtype:
    """Return what networks are evaluated in: 16 bits where the device is faster at it. float16 rounds eight
    times finer than bfloat16, and scores have no need of the range."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= HALF_SINCE:
        return torch.float16
    return torch.float32


def record_graph(work: Work, stream: Any, pool: Any) -> Work:
    """Record a CUDA graph."""
    graph = torch.cuda.CUDAGraph()
    # What other threads ask of the device meanwhile is none of it.
    with _starting, torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
        work()
    return graph.replay


class DeviceEngine:
    """A network and a decoder on a device, for batches [n, samples] of any n from several threads."""

    def __init__(
        self,
        network: nn.Module,
        decoders: Sequence[Decode],
        device: torch.device,
        *,
        rows: int,
        samples: int,
        kind: torch.dtype = torch.float32,
        record: Record | None = None,
    ) -> None:
        """Take the ways to decode, the preferred first and the plain one last.

        `rows` is halved until a batch of them fits the memory; DeviceError where not even one does.
        """
        self._device, self._samples, self._kind, self._record = device, samples, kind, record
        self._lock = threading.Lock()
        self._launched = 0
        with device_failures(str(device)), torch.inference_mode():
            self._network = network.to(device=device, dtype=kind).eval()
            with _starting:
                self._decode = self._choose(decoders)
            self._open(rows)

    @property
    def rows(self) -> int:
        """Return the rows of a batch: what fewer cost as well."""
        return self._rows

    @torch.inference_mode()
    def launch(self, batch: NDArray[np.float32]) -> list[Flight]:
        """Ask the device for what there is to tell of a batch [n, samples]; raises DeviceError."""
        with self._lock, device_failures(str(self._device)):
            flights: list[Flight] = []
            at = 0
            while at < len(batch):
                part = batch[at : at + self._rows]
                try:
                    flights.append(self._lanes[self._launched % LANES].launch(part))
                except RuntimeError as error:
                    if not out_of_memory(error) or self._rows == 1:
                        raise
                else:
                    self._launched += 1
                    at += len(part)
                    continue
                # Out here the error, which holds on to the lane and its memory, is forgotten.
                self._open(self._halved())
            return flights

    def wait(self, flights: Sequence[Flight]) -> None:
        """Wait until the network has been evaluated; raises DeviceError."""
        with device_failures(str(self._device)):
            for flight in flights:
                flight.scored.synchronize()

    def told(self, flights: Sequence[Flight]) -> list[NDArray[Any]]:
        """Wait for what is told of a batch and return it, [n, T, ...] each; raises DeviceError."""
        with device_failures(str(self._device)):
            for flight in flights:
                flight.done.synchronize()
        parts = zip(*(flight.told for flight in flights), strict=True)
        # Copies: pinned memory is dear, and returns to the next batch.
        return [np.concatenate([part.numpy() for part in told]) for told in parts]

    def _open(self, rows: int) -> None:
        """Make the lanes, of as many of the rows as there is memory for."""
        self._rows = rows
        while True:
            # What was launched is still to be told of, and the memory of old lanes is needed for new ones.
            self._lanes: list[Lane] = []
            _synchronize(self._device)
            try:
                for _ in range(LANES):
                    shape = (self._rows, self._samples)
                    self._lanes.append(
                        Lane(self._network, self._decode, shape, self._device, self._kind, self._record)
                    )
                    if not self._lanes[-1].recorded:
                        self._record = None
            except RuntimeError as error:
                if not out_of_memory(error) or self._rows == 1:
                    raise
                self._rows = self._halved()
            else:
                return

    def _halved(self) -> int:
        rows = self._rows // 2
        logger.warning("%s: too little memory for %d chunks at once: %d", self._device, self._rows, rows)
        return rows

    def _choose(self, decoders: Sequence[Decode]) -> Decode:
        *fast, plain = decoders
        if not fast:
            return plain
        scores = self._network(noise(SAMPLE_ROWS, self._samples, self._device)[:, None].to(self._kind))
        expected = plain(scores)
        for decode in fast:
            try:
                if agree(decode(scores), expected):
                    return decode
                why = "what they tell is not what plain torch tells"
            except Exception as error:  # a compiler for the device may raise anything
                if out_of_memory(error):
                    raise
                why = _first_line(error)
            logger.warning("%s: decoding kernels are not used: %s", self._device, why)
        return plain


class Lane:
    """A stream, and the fixed tensors of the batches that go through it one after another."""

    def __init__(
        self,
        network: nn.Module,
        decode: Decode,
        shape: tuple[int, int],
        device: torch.device,
        kind: torch.dtype,
        record: Record | None,
    ) -> None:
        """Warm up on noise of a batch's shape [rows, samples], and record it where `record` can."""
        self._device = device
        self._stream = _stream(device)
        self._pool = torch.cuda.graph_pool_handle() if device.type == "cuda" else None
        self._record = record
        with _on(self._stream):
            signal = self._signal = noise(*shape, device)
            scores = network(signal[:, None].to(kind))
            scores = torch.empty_like(scores, memory_format=torch.contiguous_format)

            def evaluate() -> None:
                scores.copy_(network(signal[:, None].to(kind)))

            self._evaluate = self._prepared("network", evaluate, (scores,))
            self._told = told = tuple(torch.empty_like(one) for one in decode(scores))

            def tell() -> None:
                for place, one in zip(told, decode(scores), strict=True):
                    place.copy_(one)

            self._tell = self._prepared("decoder", tell, told)
        _synchronize(device)

    @property
    def recorded(self) -> bool:
        """Return whether it replays what was recorded."""
        return self._record is not None

    def launch(self, batch: NDArray[np.float32]) -> Flight:
        """Ask for what there is to tell of [n, samples], n at most the lane's rows; from one thread at a
        time."""
        count = len(batch)
        staged = self._host(batch.shape, torch.float32)
        staged.copy_(torch.from_numpy(batch))
        scored, done = _event(self._device), _event(self._device)
        with _on(self._stream):
            # Rows beyond these are of an earlier batch, and nobody's.
            self._signal[:count].copy_(staged, non_blocking=True)
            self._evaluate()
            scored.record(self._stream)
            self._tell()
            told = tuple(self._host((count, *one.shape[1:]), one.dtype) for one in self._told)
            for place, one in zip(told, self._told, strict=True):
                place.copy_(one[:count], non_blocking=True)
            done.record(self._stream)
        return Flight(told, scored, done)

    def _host(self, shape: tuple[int, ...], kind: torch.dtype) -> Tensor:
        """Return memory of the host that the device reads and writes by itself; torch keeps it for others,
        who get it when the device is done with it."""
        return torch.empty(shape, dtype=kind, pin_memory=self._device.type == "cuda")

    def _prepared(self, what: str, work: Work, results: Told) -> Work:
        """Do work and return it, or a recording of it that gives the same results."""
        work()
        if self._record is None:
            return work
        expected = tuple(result.clone() for result in results)
        _synchronize(self._device)
        try:
            replay = self._record(work, self._stream, self._pool)
            for result in results:
                result.zero_()
            replay()
            if agree(results, expected):
                return replay
            why = "its replay gives other results"
        except RuntimeError as error:
            if out_of_memory(error):
                raise
            why = _first_line(error)
        logger.warning("%s: the %s is not recorded as a graph: %s", self._device, what, why)
        self._record = None
        return work


def noise(rows: int, samples: int, device: torch.device) -> Tensor:
    """Return normalised signal of no meaning, float32 [rows, samples], always the same."""
    return torch.randn(rows, samples, generator=torch.Generator().manual_seed(1)).to(device)


def agree(found: Told, expected: Told) -> bool:
    """Return whether two ways tell the same, but for rounding and what hangs on it. Where both tell 0, as
    between bases, is no agreement."""
    for one, other in zip(found, expected, strict=True):
        near = (one.float() - other.float()).abs() <= NEAR
        telling = (one != 0) | (other != 0)
        if bool((~near).sum() > MOST_AWAY * telling.sum()):
            return False
    return True


def out_of_memory(error: Exception) -> bool:
    """Return whether the device had too little memory, in the words of torch or of CUDA's libraries."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error) for words in ("out of memory", "ALLOC_FAILED")
    )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0]}"


def _stream(device: torch.device) -> Any:
    kind: Callable[..., Any] = torch.cuda.Stream
    return kind(device) if device.type == "cuda" else torch.cpu.Stream()


def _on(stream: Any) -> AbstractContextManager[Any]:
    is_cuda = isinstance(stream, torch.cuda.Stream)
    return torch.cuda.stream(stream) if is_cuda else torch.cpu.stream(stream)


def _event(device: torch.device) -> Any:
    # One that sleeps: to wait in a loop would take a core.
    kind: Callable[..., Any] = torch.cuda.Event
    return kind(blocking=True) if device.type == "cuda" else torch.cpu.Event()


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
