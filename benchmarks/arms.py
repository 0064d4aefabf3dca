"""The engines that are compared, each in a process of its own that waits between its turns.

So no engine sees another's threads or memory. A worker calls the reads that it was started with, by stages:
network (scores of full batches), decoding (of scores that are there), both (normalise to stitch), and batch:
both, of no more reads than fill one batch.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import psutil

from benchmarks.measure import Timing, timed
from models.caller import Caller
from reads.read import Read

Stage = Literal["network", "decoding", "both", "batch"]
STAGES: tuple[Stage, ...] = ("network", "decoding", "both")
READY_S = 600.0
"""For a worker to load, compile and call its reads once."""
TURN_S = 600.0
"""For a turn beyond what was asked: a single batch may be slow where others want the cores."""


@dataclass(frozen=True, slots=True)
class Arm:
    """An engine: how the network is evaluated. `kind` is a torch type's name for PyTorch's plain modules with
    its own threads, "precise" or "native" for the basecaller."""

    name: str
    kind: str


CPU_ARMS = (
    Arm("PyTorch modules, float32", "float32"),
    Arm("PyTorch modules, bfloat16", "bfloat16"),
    Arm("basecaller, precise", "precise"),
    Arm("basecaller, native", "native"),
)
CUDA_ARMS = (
    Arm("PyTorch modules, float32", "float32"),
    Arm("PyTorch modules, bfloat16", "bfloat16"),
    Arm("PyTorch modules, float16", "float16"),
    Arm("basecaller", "native"),
)


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker works on."""

    model: str
    device: str
    reads: tuple[Read, ...]
    batch_chunks: int | None = None
    """Chunks in a batch; None: what the model asks for."""
    chunk_samples: int | None = None
    """Samples in a chunk, a tenth of them overlap; None: as the model has it."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn took, in samples of reads (of chunks, over their overlap). `decode_share` is the share of
    its processor time that went into decoding, None where that is not told apart."""

    timing: Timing
    decode_share: float | None
    rss_bytes: int


class AbsentArmError(Exception):
    """This machine or model has not what the arm needs."""


class Worker:
    """A process with one engine, inside this context manager. Raises AbsentArmError on entering."""

    def __init__(self, arm: Arm, task: Task) -> None:
        self._arm, self._task = arm, task

    def __enter__(self) -> Self:
        context = get_context("spawn")
        self._ours, its = context.Pipe()
        self._process = context.Process(target=_work, args=(self._arm, self._task, its), daemon=True)
        self._process.start()
        its.close()
        try:
            self.sequences: list[str] = self._receive(READY_S)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def turn(self, stage: Stage, least_s: float) -> Turn:
        """Work on a stage for at least so long."""
        self._ours.send((stage, least_s))
        turn: Turn = self._receive(TURN_S + least_s)
        return turn

    def _receive(self, within_s: float) -> Any:
        if not self._ours.poll(within_s):
            raise TimeoutError(f"{self._arm.name} did not answer within {within_s:g} s")
        try:
            said = self._ours.recv()
        except EOFError as error:
            raise RuntimeError(f"the process of {self._arm.name} died; stderr may say why") from error
        if isinstance(said, AbsentArmError):
            raise said
        return said

    def _end(self) -> None:
        self._ours.close()
        self._process.terminate()
        self._process.join()


@contextlib.contextmanager
def competitors() -> Iterator[None]:
    """Keep every core that this process may use busy with one process, until the block ends."""
    with ExitStack() as stack:
        for core in _cores():
            busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(_end_process, busy)
            if sys.platform == "linux":
                psutil.Process(busy.pid).cpu_affinity([core])
        yield


def _cores() -> Sequence[int]:
    if sys.platform == "linux":
        found: list[int] = psutil.Process().cpu_affinity()
        return found
    return range(psutil.cpu_count() or 1)


def _end_process(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


# In the worker.


class PlainCaller:
    """A basecaller whose network is PyTorch's plain modules: one batch at once, torch's own threads."""

    def __init__(self, basecaller: Any, network: Any, device: Any, kind: str) -> None:
        import torch  # noqa: PLC0415 - in the worker only

        from models.decode import decode_batch  # noqa: PLC0415
        from models.device import batch_rows  # noqa: PLC0415

        self.name: str = basecaller.name
        self.sample_rate: float = basecaller.sample_rate
        self.chunk_samples: int = basecaller.chunk_samples
        self.batch_chunks: int = basecaller.batch_chunks
        self.in_flight = 0
        self.chunk, self.decode, self.stitch = basecaller.chunk, basecaller.decode, basecaller.stitch
        if device.type == "cuda":
            self.batch_chunks = batch_rows(basecaller.config)
            self.decode = partial(decode_batch, config=basecaller.config)
        self._torch, self._network, self._device = torch, network.to(device).eval(), device
        self._kind = getattr(torch, kind)

    def score(self, batch: Any) -> Any:
        """Evaluate the network on [n, chunk_samples]."""
        torch = self._torch
        with (
            torch.inference_mode(),
            torch.autocast(self._device.type, self._kind, enabled=self._kind != torch.float32),
        ):
            return self._network(torch.from_numpy(batch)[:, None].to(self._device)).float()

    def wait(self, scores: Any) -> None:  # noqa: ARG002
        """Wait for the device to be done."""
        if self._device.type == "cuda":
            self._torch.cuda.synchronize(self._device)


class WatchedCaller:
    """Any caller, and the processor time that its decoding took."""

    def __init__(self, caller: Caller, batch_chunks: int | None) -> None:
        self.name, self.sample_rate = caller.name, caller.sample_rate
        self.chunk_samples, self.in_flight = caller.chunk_samples, caller.in_flight
        self.batch_chunks = batch_chunks or caller.batch_chunks
        self.chunk, self.stitch = caller.chunk, caller.stitch
        self.score, self.wait = caller.score, caller.wait
        self._caller = caller
        self.decode_cpu_s = 0.0

    def decode(self, scores: Any) -> Any:
        """Decode, and count the time."""
        began_s = time.process_time()
        calls = self._caller.decode(scores)
        self.decode_cpu_s += time.process_time() - began_s
        return calls


def _work(arm: Arm, task: Task, pipe: Connection) -> None:
    """Be the worker: say the calls of the reads, then take turns until the pipe is closed."""
    import numpy as np  # noqa: PLC0415 - torch is not loaded where workers are only controlled

    from models.basecaller import call  # noqa: PLC0415

    try:
        caller = _caller(arm, task)
    except AbsentArmError as error:
        pipe.send(error)
        return
    watched = WatchedCaller(caller, task.batch_chunks)
    # Also compiles what is compiled at its first use.
    pipe.send([basecall.sequence for _, basecall in call(watched, task.reads)])
    samples = sum(len(read.signal) for read in task.reads)
    rows = np.concatenate([watched.chunk(read).samples for read in task.reads])
    overlapping = samples / rows.size
    batch = np.resize(rows, (watched.batch_chunks, rows.shape[1]))
    batch_samples = batch.size * overlapping
    scores = watched.score(batch)
    watched.decode(scores)

    def network() -> float:
        # A device decodes what it has scored without being asked: its network's time has the decoder's in it.
        watched.wait(watched.score(batch))
        return batch_samples

    def decoding() -> float:
        watched.decode(scores)
        return batch_samples

    def all_of(reads: Sequence[Read]) -> float:
        return float(sum(basecall.samples for _, basecall in call(watched, reads)))

    ends = np.cumsum([len(watched.chunk(read)) for read in task.reads])
    few = task.reads[: max(1, int(np.searchsorted(ends, watched.batch_chunks, side="right")))]
    works = {
        "network": network,
        "decoding": decoding,
        "both": lambda: all_of(task.reads),
        "batch": lambda: all_of(few),
    }
    with contextlib.suppress(EOFError):
        while True:
            stage, least_s = pipe.recv()
            watched.decode_cpu_s = 0.0
            timing = timed(works[stage], least_s)
            share = watched.decode_cpu_s / timing.cpu_s if stage == "both" and timing.cpu_s else None
            rss_bytes = psutil.Process().memory_info().rss
            pipe.send(Turn(timing, share, rss_bytes))


def _caller(arm: Arm, task: Task) -> Caller:
    """Return the engine. Raises AbsentArmError."""
    import torch  # noqa: PLC0415

    from models import zoo  # noqa: PLC0415
    from models.basecaller import Basecaller, usable_cores  # noqa: PLC0415
    from models.config import load_config  # noqa: PLC0415
    from models.native.native import native  # noqa: PLC0415
    from models.weights import load_network  # noqa: PLC0415

    device = zoo.find_device(task.device)
    directory: Path = zoo.find(task.model)
    config = load_config(directory)
    if task.chunk_samples:
        overlap = task.chunk_samples // 10 // config.grid_samples * config.grid_samples
        config = replace(config, chunk_samples=task.chunk_samples, overlap=overlap)
    network = load_network(directory, config.layers)
    if arm.kind == "native" and device.type == "cpu" and native(network) is None:
        raise AbsentArmError(f"{arm.name}: not for this model, or not built, or not for this processor")
    if arm.kind in {"precise", "native"}:
        precise, rows = arm.kind == "precise", task.batch_chunks
        return Basecaller(config, network, device, precise=precise, batch_rows=rows)
    cutting = load_network(directory, config.layers)
    basecaller = Basecaller(config, cutting, torch.device("cpu"), precise=True)
    if device.type == "cpu":
        # The basecaller has set one thread; its own are not used here but for decoding.
        torch.set_num_threads(usable_cores())
    return PlainCaller(basecaller, network, device, arm.kind)
