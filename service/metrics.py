"""What the service tells Prometheus: every name is here, and nowhere else.

Counters move when a thing is done: a base when its answer was handed to the socket.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
)

from service.devices import device_name, memory

STAGE_BUCKETS_S = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
)
FILL_BUCKETS = tuple(tenth / 10 for tenth in range(1, 11))
NO_MODEL = ""
"""The model label of requests that ended before their model was known: never what a client wrote."""

Metric = TypeVar("Metric", Counter, Histogram)


@dataclass(frozen=True, slots=True)
class EngineMetrics:
    """The part that one engine of a model moves."""

    batch_fill: Histogram
    engine_restarts: Counter
    busy_seconds: Counter


class Metrics:
    """All metrics of one service, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._children: dict[tuple[Counter | Histogram, tuple[str, ...]], Counter | Histogram] = {}
        ProcessCollector(registry=self._registry)
        Info("fiveways_build", "What is running.", registry=self._registry).info(
            {"version": version("fiveways")}
        )
        self._requests = Counter(
            "fiveways_requests",
            "Requests for a basecall by the status of their answer; 499: the client left before it.",
            ["code", "model"],
            registry=self._registry,
        )
        self._samples = Counter(
            "fiveways_samples", "Samples of the reads answered.", ["model"], registry=self._registry
        )
        self._bases = Counter(
            "fiveways_bases", "Bases of the answers sent.", ["model"], registry=self._registry
        )
        self._stages = Histogram(
            "fiveways_stage_seconds",
            "Time that answered requests spent in each stage.",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
            registry=self._registry,
        )
        self._batch_fill = Histogram(
            "fiveways_batch_fill",
            "Chunks in a batch over the most it could have.",
            ["model"],
            buckets=FILL_BUCKETS,
            registry=self._registry,
        )
        self._engine_restarts = Counter(
            "fiveways_engine_restarts", "Restarts of failed engines.", ["model"], registry=self._registry
        )
        self._engine_busy = Counter(
            "fiveways_engine_busy_seconds",
            "Time in which an engine worked on batches: its rate is how much of its device is used.",
            ["model", "device"],
            registry=self._registry,
        )
        self._device_memory = Gauge(
            "fiveways_device_memory_bytes",
            "Memory of a device: used, by everybody, and total.",
            ["device", "kind"],
            registry=self._registry,
        )
        self._backlog_samples = Gauge(
            "fiveways_backlog_samples",
            "Samples admitted and not answered yet.",
            ["model"],
            registry=self._registry,
        )
        self._backlog_seconds = Gauge(
            "fiveways_backlog_seconds",
            "The same at the measured drain rate: what a new request would wait.",
            ["model"],
            registry=self._registry,
        )
        self._drain_rate = Gauge(
            "fiveways_drain_samples_per_second",
            "Samples that the engines call in a second, measured.",
            ["model"],
            registry=self._registry,
        )

    def engine(self, model: str, device: str) -> EngineMetrics:
        """Return what the engine of `model` on `device` moves, and show the memory of that device."""
        name = device_name(device)
        self._device_memory.labels(name, "used").set_function(lambda: memory(name).used)
        self._device_memory.labels(name, "total").set_function(lambda: memory(name).total)
        return EngineMetrics(
            self._batch_fill.labels(model),
            self._engine_restarts.labels(model),
            self._engine_busy.labels(model, name),
        )

    def watch(
        self,
        model: str,
        *,
        backlog_samples: Callable[[], float],
        backlog_s: Callable[[], float],
        samples_per_s: Callable[[], float],
    ) -> None:
        """Show the gauges and counters of `model` from now on."""
        self._backlog_samples.labels(model).set_function(backlog_samples)
        self._backlog_seconds.labels(model).set_function(backlog_s)
        self._drain_rate.labels(model).set_function(samples_per_s)
        self._samples.labels(model)
        self._bases.labels(model)

    def count_request(self, code: int, model: str) -> None:
        """Count a request that has ended."""
        self._child(self._requests, str(code), model).inc()

    def count_call(self, model: str, *, samples: int, bases: int, stage_s: Mapping[str, float]) -> None:
        """Count a basecall that was handed to the socket."""
        self._child(self._samples, model).inc(samples)
        self._child(self._bases, model).inc(bases)
        for stage, seconds in stage_s.items():
            self._child(self._stages, stage).observe(seconds)

    def _child(self, metric: Metric, *labels: str) -> Metric:
        """Return what `metric` counts under `labels`: as many as there are models, statuses and stages."""
        found = self._children.get((metric, labels))
        if found is None:
            found = self._children[metric, labels] = metric.labels(*labels)
        return found  # type: ignore[return-value]

    def page(self) -> bytes:
        """Return the text that Prometheus scrapes."""
        return generate_latest(self._registry)
