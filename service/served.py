"""A model that is served: its queue, and an engine for each device.

Making one loads the model, which takes seconds. Everything else returns at once.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Self

from models.caller import Caller
from models.errors import SampleRateError
from models.rates import check_rate
from reads.read import Read
from service.drain_rate import DrainRate
from service.engine import Engine
from service.errors import EngineError, ImpossibleRequestError
from service.job import Job, Priority, cost_samples
from service.metrics import Metrics
from service.queue import ReadQueue

UNSAID_SAMPLE_RATE = 4000.0
"""The sample rate of reads of which nobody says any, in Hz."""


class ServedModel:
    """A model's queue and engines, which work inside this context manager. Raises what `load` raises."""

    def __init__(self, load: Callable[[str], Caller], devices: Sequence[str], metrics: Metrics) -> None:
        # At once: a device takes seconds to warm up, and machines have eight.
        with ThreadPoolExecutor(len(devices), thread_name_prefix="load") as pool:
            callers = list(pool.map(load, devices))
        self.name = callers[0].name
        self.devices = tuple(devices)
        self._queue = ReadQueue(lambda: self.samples_per_s)
        self._engines = [
            Engine(
                device,
                caller,
                partial(load, device),
                queue=self._queue,
                metrics=metrics.engine(self.name, device),
                died=self._engine_died,
            )
            for device, caller in zip(devices, callers, strict=True)
        ]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for engine in self._engines:
            self._stack.enter_context(engine)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._stack.close()

    def close(self) -> None:
        """Fail what is queued, and whatever comes."""
        self._queue.close(EngineError("the service stops"))

    @property
    def caller(self) -> Caller:
        """Return a caller of the model: all are alike."""
        return self._engines[0].caller

    @property
    def sample_rate(self) -> float:
        """Return the sample rate of reads whose sender does not say it [Hz]."""
        return self.caller.sample_rate or UNSAID_SAMPLE_RATE

    @property
    def healthy(self) -> bool:
        """Return whether every engine works, or could."""
        return all(engine.healthy for engine in self._engines)

    @property
    def samples_per_s(self) -> float:
        """Return the measured drain rate of all engines; infinite before the proof."""
        return sum(engine.rate.samples_per_s for engine in self._engines if not engine.dead) or math.inf

    def cost_samples(self, samples: int) -> int:
        """Return what a read of `samples` costs to call, in samples."""
        return cost_samples(samples, self.caller.chunk_samples)

    def check_sample_rate(self, sample_rate: float) -> None:
        """Raise ImpossibleRequestError where the model does not take reads of `sample_rate` Hz."""
        try:
            check_rate(sample_rate, self.caller.sample_rate, self.name)
        except SampleRateError as error:
            raise ImpossibleRequestError(str(error)) from error

    def submit(self, read: Read, *, priority: Priority, arrived_s: float) -> Job:
        """Queue a read that came at `arrived_s` of time.monotonic.

        The job's `outcome` will be its basecall, an EngineError or an ImpossibleRequestError.
        """
        cost = self.cost_samples(len(read.signal))
        job = Job(read, cost_samples=cost, priority=priority, arrived_s=arrived_s)
        self._queue.add(job)
        return job

    def forget_rates(self) -> None:
        """Forget how fast the engines were."""
        for engine in self._engines:
            engine.rate = DrainRate()

    def _engine_died(self) -> None:
        if all(engine.dead for engine in self._engines):
            self._queue.close(EngineError("every engine of the model has failed"))
