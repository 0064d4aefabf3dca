"""A small real caller, and a service of it on a real socket: what tests of the service share."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from benchmarks.paced import STRIDE, MeanCaller
from models.caller import Caller, Chunks
from models.chunks import cut
from models.errors import SampleRateError
from reads.read import Calibration, Read, Signal
from service.server import SignalledServer, listen
from service.service import Load, Service
from service.settings import Settings

WAIT_S = 60.0
"""How long tests wait for what should come at once."""
START_S = 300.0
"""How long a service may take to be ready: a real model is loaded and compiled, perhaps on a busy machine."""


class TinyCaller(MeanCaller):
    """Takes reads of one sample rate, in small chunks."""

    name = "tiny"
    sample_rate = 4000.0
    chunk_samples = 200
    batch_chunks = 16

    def chunk(self, read: Read) -> Chunks:
        if read.sample_rate != self.sample_rate:
            raise SampleRateError(f"{read.sample_rate:g} Hz, not {self.sample_rate:g} Hz")
        return cut(read.signal.astype(np.float32), self.chunk_samples, 4 * STRIDE, STRIDE)


@dataclass
class GatedCaller(TinyCaller):
    """Scores nothing while its gate is closed; notes how many chunks each batch had."""

    gate: threading.Event = field(default_factory=threading.Event)
    waiting: threading.Event = field(default_factory=threading.Event)
    """Set while a batch stands before the closed gate."""
    batches: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()

    def score(self, batch: NDArray[np.float32]) -> Any:
        self.batches.append(len(batch))
        if not self.gate.is_set():
            self.waiting.set()
            assert self.gate.wait(WAIT_S)
            self.waiting.clear()
        return super().score(batch)


def expected_sequence(signal: Signal) -> str:
    """What TinyCaller makes of a signal whose length is a multiple of STRIDE."""
    means = signal.astype(np.float32).reshape(-1, STRIDE).mean(1)
    return "".join("ACGT"[code] for code in np.round(means).astype(np.int64) % 4)


def random_signal(samples: int, seed: int = 1) -> Signal:
    signal: Signal = np.random.default_rng(seed).integers(-500, 1500, samples).astype(np.int16)
    return signal


def read_of(signal: Signal, read_id: str = "read") -> Read:
    return Read(read_id, signal, Calibration(0.0, 1.0), TinyCaller.sample_rate)


@dataclass
class Running:
    """A service on a real socket, in a thread of its own."""

    service: Service
    server: SignalledServer
    url: str
    port: int
    ended: threading.Event
    statuses: list[int]
    """The exit status, once it has ended."""

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=WAIT_S, **options)

    def call(self, signal: Signal, **options: Any) -> httpx.Response:
        with self.client() as client:
            return call(client, signal, **options)

    def metric(self, name: str) -> float:
        """The sum of a metric's samples, of all labels."""
        lines = httpx.get(self.url + "/metrics", timeout=WAIT_S).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split(" ")[0] == name)


def call(client: httpx.Client, signal: Signal, **options: Any) -> httpx.Response:
    headers = {"content-type": "application/octet-stream", **options.pop("headers", {})}
    return client.post("/v1/basecall", content=signal.tobytes(), headers=headers, **options)


@contextmanager
def serving(
    load: Load | None = None,
    *,
    while_loading: Callable[[SignalledServer, int], None] | None = None,
    **settings: Any,
) -> Iterator[Running]:
    """Serve TinyCaller, or what `load` gives, until the block ends.

    `while_loading` is called, with the server and its port, once it listens.
    """
    chosen = Settings(model="tiny", port=0, **settings)
    ready, ended = threading.Event(), threading.Event()
    statuses: list[int] = []

    def announce(model: str, at: Sequence[str]) -> None:
        ready.set()

    with Service(chosen, load or (lambda model, device: TinyCaller())) as service:
        listeners = listen(chosen)
        port = listeners[0].getsockname()[1]
        server = SignalledServer(service)

        def live() -> None:
            try:
                with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
                    statuses.append(runner.run(server.live(listeners, announce)))
            finally:
                ended.set()
                ready.set()

        thread = threading.Thread(target=live)
        thread.start()
        if while_loading:
            while_loading(server, port)
        assert ready.wait(START_S)
        assert statuses or not ended.is_set(), "it could not start"
        try:
            yield Running(service, server, f"http://127.0.0.1:{port}", port, ended, statuses)
        finally:
            # Its event loop is closed where the test has ended it, or the first signal has.
            with suppress(RuntimeError):
                server.handle_exit(signal.SIGTERM, None)
                server.handle_exit(signal.SIGTERM, None)
            thread.join(WAIT_S)
            assert not thread.is_alive()


def of(caller: Caller) -> Load:
    """A `load` that always gives `caller`."""
    return lambda model, device: caller


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds."""
    ticking = threading.Event()
    for _ in range(int(WAIT_S * 1000)):
        if condition():
            return
        ticking.wait(0.001)
    raise AssertionError("it did not come to pass")
