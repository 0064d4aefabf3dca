"""How much of the engine's speed is left after HTTP, and what requests cost.

    python -m benchmarks.serving [--quick] [--model MODEL] [--reads-count 1000000]

The service is a real `fiveways serve`, its client a process of the same machine. How others do on the same
work is `benchmarks.comparison`. Tables on stderr; the last line of stdout is JSON.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Annotated

import numpy as np
import typer

from benchmarks.arms import Arm, Task, Worker
from benchmarks.hammer import Answers, Hammer, Load, Request
from benchmarks.measure import (
    Cell,
    Record,
    Section,
    Spread,
    at_least,
    at_most,
    chosen,
    end_in_order,
    interleave,
    machine,
    percentile,
    ratio,
    spread,
)
from benchmarks.servers import Server, peer, service
from models import zoo
from models.config import load_config
from models.null import NullCaller
from reads.read import Read
from reads.simulate import simulate_reads

BUSY_CONNECTIONS = 32
NULL_CONNECTIONS = 4


@dataclass(frozen=True, slots=True)
class Scope:
    """How much to measure."""

    rounds: int = 5
    seconds: float = 5.0
    reads: int = 24
    read_bases: int = 8000
    body_bytes: tuple[int, ...] = (8_000, 100_000, 1_000_000, 10_000_000)
    connections: tuple[int, ...] = (1, 4, 16, 64, 256)
    read_samples: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000, 5_000_000)
    replicas: tuple[int, ...] = (1, 2, 4)
    single_requests: int = 500
    memory_reads: int = 20_000


QUICK = Scope(1, 0.2, 3, 300, (8_000, 100_000), (1, 4), (1_000, 5_000), (1, 2), 5, 60)


def requests_of(reads: Sequence[Read]) -> tuple[Request, ...]:
    """Return the requests for some reads."""
    return tuple(
        Request(
            read.signal.tobytes(),
            f"/v1/basecall?sample_rate={read.sample_rate:g}"
            f"&offset={read.calibration.offset!r}&scale={read.calibration.scale!r}",
        )
        for read in reads
    )


def noise(samples: int, sample_rate_hz: float = 4000.0) -> Request:
    """Return a request whose signal means nothing."""
    signal = np.random.default_rng(samples).integers(300, 700, samples).astype(np.int16)
    return Request(signal.tobytes(), f"/v1/basecall?sample_rate={sample_rate_hz:g}", counts=False)


def spread_cells(values: Spread | None, unit: float = 1.0) -> tuple[Cell, ...]:
    """Return median, least and greatest."""
    if values is None:
        return (None, None, None)
    return (values.median / unit, values.least / unit, values.greatest / unit)


def in_process(task: Task) -> Arm:
    """Return the basecaller as the service has it, without a service."""
    from models.native.library import library  # noqa: PLC0415 - opens the compiled half

    has_native = task.device != "cpu" or library() is not None
    return Arm("in process", "native" if has_native else "precise")


def measure_efficiency(record: Record, hammer: Hammer, model: str, scope: Scope) -> None:
    """Bases/s through HTTP over bases/s in process."""
    reads = tuple(
        one.read for one in islice(simulate_reads(seed=9, mean_bases=scope.read_bases), scope.reads)
    )
    requests = requests_of(reads)
    task = Task(model, str(zoo.find_device("auto")), reads)
    with ExitStack() as stack:
        server = stack.enter_context(Server(service(model), requests[0]))
        worker = stack.enter_context(Worker(in_process(task), task))
        bases = sum(len(sequence) for sequence in worker.sequences)
        per_sample = bases / sum(len(read.signal) for read in reads)
        load = Load((server.url,), requests, connections=BUSY_CONNECTIONS, seconds=scope.seconds)
        arms: dict[str, Callable[[], float]] = {
            "in process": lambda: worker.turn("both", scope.seconds).timing.per_s * per_sample,
            "through HTTP": lambda: hammer.send(load).bases_per_s,
        }
        found = interleave(arms, scope.rounds)
    shares = [there / here for here, there in zip(found["in process"], found["through HTTP"], strict=True)]
    rows: list[tuple[Cell, ...]] = [
        (name, *spread_cells(spread(values), 1e3)) for name, values in found.items()
    ]
    rows.append(("serving efficiency, %", *spread_cells(spread(shares), 0.01)))
    columns = ("bases/s", "kbases/s, median", "least", "greatest")
    record.add(
        Section(f"Serving efficiency of {model}", columns, tuple(rows), f"{BUSY_CONNECTIONS} connections.")
    )
    record.aims.append(at_least("serving efficiency", spread(shares).median, 0.95))
    record.figures["serving_efficiency"] = spread(shares).median


def measure_null(record: Record, hammer: Hammer, scope: Scope) -> None:
    """The null arm beside a bare byte sink under the same settings."""
    bodies = {size: noise(size // 2) for size in scope.body_bytes}
    with ExitStack() as stack:
        servers = {
            "null": stack.enter_context(Server(service(NullCaller.name), noise(100))),
            "sink": stack.enter_context(Server(peer("sink", NullCaller.name), noise(100))),
        }
        arms = {
            f"{name}|{size}|{connections}": partial(
                hammer.send, Load((server.url,), (body,), connections=connections, seconds=scope.seconds)
            )
            for name, server in servers.items()
            for size, body in bodies.items()
            for connections in (1, NULL_CONNECTIONS)
        }
        found = interleave(arms, scope.rounds)
    rows: list[tuple[Cell, ...]] = []
    figures: dict[str, dict[str, float]] = {}
    for size in scope.body_bytes:
        rates, times = {}, {}
        for name in servers:
            busy = found[f"{name}|{size}|{NULL_CONNECTIONS}"]
            rates[name] = spread([answers.bytes_per_s for answers in busy])
            times[name] = spread(
                [percentile(answers.latency_ms, 50) for answers in found[f"{name}|{size}|1"]]
            )
            requests_per_s = spread([answers.requests_per_s for answers in busy])
            rows.append(
                (
                    f"{name}, {size / 1e3:,.0f} kB",
                    rates[name].median / 1e6,
                    rates[name].least / 1e6,
                    rates[name].greatest / 1e6,
                    requests_per_s.median,
                    times[name].median,
                )
            )
        share = rates["null"].median / rates["sink"].median
        slower = times["null"].median / times["sink"].median
        figures[str(size)] = {
            "null": rates["null"].median,
            "sink": rates["sink"].median,
            "time_ratio": slower,
        }
        rows.append((f"null over sink, {size / 1e3:,.0f} kB", share, None, None, None, slower))
        if size >= 1_000_000:
            record.aims.append(
                at_least(f"null arm's bytes/s over the sink's at {size / 1e6:g} MB", share, 0.8)
            )
        if size == 100_000:
            record.aims.append(at_most("null arm's time a request over the sink's at 100 kB", slower, 1.5))
    columns = ("server, body", "MB/s, median", "least", "greatest", "requests/s", "ms/request, 1 connection")
    record.add(
        Section("No network evaluated", columns, tuple(rows), f"MB/s with {NULL_CONNECTIONS} connections.")
    )
    record.figures["null_arm"] = figures


def measure_latency(record: Record, hammer: Hammer, model: str, scope: Scope) -> None:
    """One chunk at a time on an idle service: what is neither network nor decoding."""
    config = load_config(zoo.find(model))
    chunk = noise(config.chunk_samples, config.sample_rate)
    with Server(service(model), chunk) as server:
        answers = hammer.send(Load((server.url,), (chunk,), count=scope.single_requests))
    http_ms = [
        max(0.0, client_ms - server_ms)
        for client_ms, server_ms in zip(answers.latency_ms, answers.server_ms, strict=True)
    ]
    rows: list[tuple[Cell, ...]] = [
        (name, percentile(values, 50), percentile(values, 99), max(values))
        for name, values in (
            ("as the client sees it", answers.latency_ms),
            ("less network and decoding", http_ms),
        )
    ]
    columns = ("one chunk, idle service", "p50, ms", "p99", "greatest")
    record.add(Section("Latency", columns, tuple(rows), f"{answers.requests} requests, one after another."))
    record.aims.append(at_most("HTTP share of one chunk's latency at p99, ms", percentile(http_ms, 99), 2.0))
    record.figures["http_ms_p99"] = percentile(http_ms, 99)


def measure_scale(record: Record, hammer: Hammer, model: str, scope: Scope) -> None:
    """More connections, longer reads, more replicas."""
    config = load_config(zoo.find(model))
    medium = noise(25_000, config.sample_rate)
    with ExitStack() as stack:
        replicas = [
            stack.enter_context(Server(service(NullCaller.name), medium)) for _ in range(max(scope.replicas))
        ]
        caller = stack.enter_context(Server(service(model), medium))
        arms: dict[str, Callable[[], Answers]] = {}
        for count in scope.connections:
            for name, server in (("null arm", replicas[0]), (model, caller)):
                load = Load((server.url,), (medium,), connections=count, seconds=scope.seconds)
                arms[f"{name}, {count} connections of 25,000 samples"] = partial(hammer.send, load)
        for samples in scope.read_samples:
            body = noise(samples, config.sample_rate)
            load = Load((caller.url,), (body,), connections=NULL_CONNECTIONS, seconds=scope.seconds)
            arms[f"{model}, reads of {samples:,} samples, {NULL_CONNECTIONS} connections"] = partial(
                hammer.send, load
            )
        for count in scope.replicas:
            urls = tuple(server.url for server in replicas[:count])
            load = Load(urls, (medium,), connections=BUSY_CONNECTIONS, seconds=scope.seconds)
            arms[f"null arm, {count} replicas, {BUSY_CONNECTIONS} connections"] = partial(hammer.send, load)
        found = interleave(arms, scope.rounds)
    rows, figures = [], {}
    for name, all_answers in found.items():
        rate = spread([answers.bytes_per_s / 2 for answers in all_answers])
        latencies = [value for answers in all_answers for value in answers.latency_ms]
        failures = sum(answers.failures for answers in all_answers)
        rows.append(
            (name, *spread_cells(rate, 1e3), percentile(latencies, 50), percentile(latencies, 99), failures)
        )
        figures[name] = rate.median
    columns = ("what", "ksamples/s, median", "least", "greatest", "p50, ms", "p99", "failures")
    record.add(Section("Scale", columns, tuple(rows)))
    record.figures["scale_samples_per_s"] = figures


def measure_memory(record: Record, hammer: Hammer, scope: Scope) -> None:
    """The memory of the null arm over many reads of many lengths."""
    made = islice(simulate_reads(seed=3, mean_bases=1000), 200)
    requests = requests_of([one.read for one in made])
    parts = 10
    rows: list[tuple[Cell, ...]] = []
    resident: list[int] = []
    rates: list[float] = []
    with Server(service(NullCaller.name), requests[0]) as server:
        load = Load((server.url,), requests, connections=BUSY_CONNECTIONS, count=scope.memory_reads // parts)
        for part in range(parts):
            rates.append(hammer.send(load).requests_per_s)
            resident.append(server.rss_bytes)
            done = (part + 1) * (scope.memory_reads // parts)
            rows.append((f"{done:,} reads", resident[-1] / 2**20, rates[-1]))
    record.add(Section("Memory of the service", ("after", "resident MiB", "reads/s"), tuple(rows)))
    growth = ratio(resident[-1], resident[0])
    record.aims.append(
        at_most("resident memory at the end over that after a tenth of the reads", growth, 1.05)
    )
    record.figures["resident_bytes"] = resident
    record.figures["reads_per_s"] = rates


PARTS: Mapping[str, str] = {
    "efficiency": "bases/s through HTTP over bases/s in process",
    "null": "the null arm beside a bare byte sink",
    "latency": "one chunk on an idle service",
    "scale": "connections, lengths of reads, replicas",
    "memory": "resident memory over many reads",
}


def main(
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Tiny sizes: shows that it runs, measures nothing.")
    ] = False,
    model: Annotated[str, typer.Option(help="A shipped model's name, or a model directory.")] = zoo.DEFAULT,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="How often each is measured; 5 unless told.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="For how long; 5 unless told.")] = None,
    only: Annotated[str, typer.Option(help=f"Some of {','.join(PARTS)}, with commas between.")] = "",
    reads_count: Annotated[
        int | None, typer.Option(min=10, help="Reads over which memory is watched; 20000 unless told.")
    ] = None,
) -> None:
    """Measure the service on this machine."""
    end_in_order()
    wanted = chosen(only, list(PARTS))
    scope = QUICK if quick else Scope()
    if rounds:
        scope = replace(scope, rounds=rounds)
    if seconds:
        scope = replace(scope, seconds=seconds)
    if reads_count:
        scope = replace(scope, memory_reads=reads_count)
    record = Record("serving", {"quick": quick, "model": model, "parts": wanted}, machine())
    with Hammer() as hammer:
        steps: dict[str, Callable[[], None]] = {
            "efficiency": lambda: measure_efficiency(record, hammer, model, scope),
            "null": lambda: measure_null(record, hammer, scope),
            "latency": lambda: measure_latency(record, hammer, model, scope),
            "scale": lambda: measure_scale(record, hammer, model, scope),
            "memory": lambda: measure_memory(record, hammer, scope),
        }
        for part in wanted:
            steps[part]()
    record.finish()


if __name__ == "__main__":
    typer.run(main)
