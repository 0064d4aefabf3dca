"""What the machine can do at most, measured before anything else is: every other figure stands beside it.

    python -m benchmarks.ceilings [--quick]

The library's own matrix rate in each type, memory copies, hence each model's ceiling in samples/s; TCP over
loopback and over the lab's paths; and how fast files of reads decode. Tables on stderr; the last line of
stdout is JSON. Knows neither engines nor services.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import h5py
import torch
import typer
import vbz_h5py_plugin  # noqa: F401  registers the VBZ filter with HDF5

from benchmarks import tcp
from benchmarks.costs import Cost, cost
from benchmarks.measure import Cell, Record, Section, Spread, Timing, interleave, machine, say, spread, timed
from models import zoo
from models.config import load_config
from reads.cores import usable_cores
from reads.files import open_reads
from reads.simulate import simulate_reads
from reads.writer import read_writer

TYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.int8,
}
CPU_SIZES, GPU_SIZES, QUICK_SIZES = (256, 512, 1024, 2048, 4096), (2048, 4096, 8192, 16384), (64, 128)
"""Rows and columns of the square matrices that are multiplied; the fastest of them counts."""
SLOW_S = 1.0
"""A product that takes this long is of a type that the device has no units for: no larger one is tried."""
COPY_BYTES, QUICK_BYTES = 256 * 2**20, 2**20
"""Larger than caches."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure."""

    rounds: int = 5
    least_s: float = 0.3
    sizes: tuple[int, ...] = CPU_SIZES
    copy_bytes: int = COPY_BYTES
    reads: int = 40
    read_bases: int = 20_000
    tcp_s: float = 1.0


QUICK = Effort(2, 0.01, QUICK_SIZES, QUICK_BYTES, 2, 500, 0.05)


def product(kind: torch.dtype, size: int, device: torch.device) -> Callable[[], float]:
    """Return what multiplies two square matrices and returns its multiplications and additions."""
    a, b = ((8 * torch.randn(size, size, device=device)).to(kind) for _ in range(2))
    # Products of int8 have no other name.
    multiply: Any = torch._int_mm if kind == torch.int8 else torch.mm  # noqa: SLF001

    def work() -> float:
        multiply(a, b)
        return 2.0 * size**3

    return work


def matrix_rate(kind: torch.dtype, device: torch.device, effort: Effort) -> float | None:
    """Return the best rate of any size [FLOP/s, of int8 operations/s]; None where torch has none."""
    best = 0.0
    for size in effort.sizes:
        try:
            work = product(kind, size, device)
            first = device_timed(work, 0.0, device)
            best = max(best, device_timed(work, effort.least_s / len(effort.sizes), device).per_s)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                break
            say(f"{kind} on {device}: {error}")
            return best or None
        if first.wall_s > SLOW_S:
            break
    return best or None


def device_timed(work: Callable[[], float], least_s: float, device: torch.device) -> Timing:
    """Time `work`; on a GPU by its own clock, from the first kernel to the last."""
    if device.type != "cuda":
        return timed(work, least_s)
    event: Any = torch.cuda.Event  # untyped
    begin, end = event(enable_timing=True), event(enable_timing=True)
    torch.cuda.synchronize(device)
    cpu_s, began_s = time.process_time(), time.perf_counter()
    begin.record()
    amount, enqueued = 0.0, 0
    while True:
        amount += work()
        enqueued += 1
        if enqueued % 8 == 0 or least_s == 0.0:
            # Without this, far more would be enqueued than is wanted.
            torch.cuda.synchronize(device)
            if time.perf_counter() - began_s >= least_s:
                break
    end.record()
    torch.cuda.synchronize(device)
    return Timing(amount, begin.elapsed_time(end) / 1e3, time.process_time() - cpu_s)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use so many threads for one product."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def matrix_rates(effort: Effort) -> dict[str, dict[str, Spread | None]]:
    """Return the rates by where ("1 core", "N cores", a GPU) and type."""
    cores = usable_cores()
    cpu = torch.device("cpu")

    def on_cpu(threads: int, kind: torch.dtype) -> float | None:
        with torch_threads(threads):
            return matrix_rate(kind, cpu, effort)

    arms: dict[str, Callable[[], float | None]] = {}
    for name, kind in TYPES.items():
        for threads in sorted({1, cores}):
            arms[f"{name}|{core_words(threads)}"] = lambda threads=threads, kind=kind: on_cpu(threads, kind)  # type: ignore[misc]
        for index in range(torch.cuda.device_count()):
            device, sizes = (
                torch.device("cuda", index),
                GPU_SIZES if effort.sizes == CPU_SIZES else effort.sizes,
            )
            gpu_effort = Effort(effort.rounds, effort.least_s, sizes)
            where = f"cuda:{index} {torch.cuda.get_device_name(index)}"
            arms[f"{name}|{where}"] = lambda kind=kind, device=device, its=gpu_effort: matrix_rate(  # type: ignore[misc]
                kind, device, its
            )
    found: dict[str, dict[str, Spread | None]] = {}
    for arm, values in interleave(arms, effort.rounds).items():
        name, where = arm.split("|")
        known = [value for value in values if value is not None]
        found.setdefault(where, {})[name] = spread(known) if known else None
    return found


def core_words(count: int) -> str:
    """Return "1 core" or "N cores"."""
    return f"{count} core" + "s" * (count > 1)


def copy_rates(effort: Effort) -> dict[str, Spread]:
    """Return the rates of copies [bytes/s], each byte counted once."""
    source = torch.ones(effort.copy_bytes, dtype=torch.uint8)
    target = torch.empty_like(source)

    def copy(to: torch.Tensor, of: torch.Tensor, device: torch.device) -> Callable[[], float]:
        def work() -> float:
            to.copy_(of, non_blocking=device.type == "cuda")
            return float(of.numel())

        return lambda: device_timed(work, effort.least_s, device).per_s

    def with_threads(count: int) -> float:
        with torch_threads(count):
            return copy(target, source, torch.device("cpu"))()

    arms: dict[str, Callable[[], float]] = {
        f"memory, {core_words(count)}": lambda count=count: with_threads(count)  # type: ignore[misc]
        for count in sorted({1, usable_cores()})
    }
    for index in range(torch.cuda.device_count()):
        device = torch.device("cuda", index)
        pinned, there = source.pin_memory(), source.to(device)
        arms[f"to cuda:{index}, pinned"] = copy(there, pinned, device)
        arms[f"from cuda:{index}, pinned"] = copy(pinned, there, device)
        arms[f"within cuda:{index}"] = copy(torch.empty_like(there), there, device)
    return {name: spread(values) for name, values in interleave(arms, effort.rounds).items()}


def model_costs() -> dict[str, Cost]:
    """Return what each shipped model costs."""
    return {name: cost(load_config(zoo.find(name))) for name in zoo.names()}


def file_rates(effort: Effort) -> dict[str, Spread]:
    """Return how fast files of reads decode, to int16 in memory [samples/s]."""
    reads = [made.read for made in islice(simulate_reads(seed=5, mean_bases=effort.read_bases), effort.reads)]
    with tempfile.TemporaryDirectory(prefix="fiveways-ceilings-") as folder:
        vbz, pod5, gzip = (Path(folder) / name for name in ("vbz.fast5", "vbz.pod5", "gzip.h5"))
        for path in (vbz, pod5):
            with read_writer(path) as writer:
                for read in reads:
                    writer.write(read)
        with h5py.File(gzip, "w") as file:
            for read in reads:
                file.create_dataset(read.read_id, data=read.signal, compression="gzip", compression_opts=1)

        def through_reads(path: Path) -> float:
            def work() -> float:
                with open_reads([path]) as stream:
                    return float(sum(len(read.signal) for read in stream))

            return timed(work, effort.least_s).per_s

        def through_h5py(path: Path, names: list[str]) -> float:
            def work() -> float:
                with h5py.File(path) as file:
                    return float(sum(len(file[name][()]) for name in names))

            return timed(work, effort.least_s).per_s

        with h5py.File(vbz) as file:
            vbz_names = [f"{group}/Raw/Signal" for group in file]
        arms: dict[str, Callable[[], float]] = {
            "HDF5, gzip 1, h5py alone": lambda: through_h5py(gzip, [read.read_id for read in reads]),
            "HDF5, VBZ, h5py alone": lambda: through_h5py(vbz, vbz_names),
            "fast5, VBZ, as reads": lambda: through_reads(vbz),
            "pod5, VBZ, as reads": lambda: through_reads(pod5),
        }
        return {name: spread(values) for name, values in interleave(arms, effort.rounds).items()}


def ceiling_rows(
    costs: Mapping[str, Cost], rates: Mapping[str, Mapping[str, Spread | None]]
) -> tuple[tuple[Cell, ...], ...]:
    """Return a row for each model, place and type: what the matrix rate allows, samples/s."""
    rows: list[tuple[Cell, ...]] = []
    for model, one in costs.items():
        for where, by_type in rates.items():
            for kind, rate in by_type.items():
                if rate:
                    rows.append(
                        (
                            model,
                            where,
                            kind,
                            one.flops_per_sample / 1e3,
                            one.bytes_per_sample,
                            rate.median / one.flops_per_read_sample / 1e3,
                        )
                    )
    return tuple(rows)


def spread_row(name: str, values: Spread | None, unit: float) -> tuple[Cell, ...]:
    """Return a row of a table: the name, median, least and greatest in `unit`."""
    if values is None:
        return (name, None, None, None)
    return (name, values.median / unit, values.least / unit, values.greatest / unit)


def main(
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Tiny sizes: shows that it runs, measures nothing.")
    ] = False,
    rounds: Annotated[int, typer.Option(min=1, help="How often all is measured.")] = 5,
    lab: Annotated[bool, typer.Option(help="Also build a lab, and measure TCP over its paths.")] = True,
) -> None:
    """Measure the ceilings of this machine."""
    effort = QUICK if quick else Effort(rounds)
    record = Record("ceilings", {"quick": quick, "torch": str(torch.__version__)}, machine())
    rates = matrix_rates(effort)
    record.add(
        Section(
            "Matrix rate",
            ("where, type", "GFLOP/s, median", "least", "greatest"),
            tuple(
                spread_row(f"{where}, {kind}", rate, 1e9)
                for where, by_type in rates.items()
                for kind, rate in by_type.items()
            ),
            "The fastest of torch's square products; int8 in 10^9 operations/s.",
        )
    )
    copies = copy_rates(effort)
    columns = ("what", "GB/s, median", "least", "greatest")
    record.add(
        Section("Copies", columns, tuple(spread_row(name, rate, 1e9) for name, rate in copies.items()))
    )
    costs = model_costs()
    record.add(
        Section(
            "Each model's ceiling at the matrix rate",
            ("model", "where", "type", "kFLOP/sample", "bytes/sample", "ceiling, ksamples/s"),
            ceiling_rows(costs, rates),
            "Samples of reads: the overlap of chunks is paid for. Bytes are what layers hand on, in 16 bits.",
        )
    )
    flows = tcp.rates(effort.rounds, effort.tcp_s, with_lab=lab)
    rows = tuple(spread_row(name, rate, 1e9) for name, rate in flows.rates.items())
    record.add(Section("TCP, one connection", columns, rows, flows.note))
    files = file_rates(effort)
    columns = ("what", "Msamples/s, median", "least", "greatest")
    record.add(
        Section("Decoding files", columns, tuple(spread_row(name, rate, 1e6) for name, rate in files.items()))
    )
    record.figures = {
        "matrix_flops_per_s": {
            where: {kind: rate and rate.median for kind, rate in by_type.items()}
            for where, by_type in rates.items()
        },
        "copy_bytes_per_s": {name: rate.median for name, rate in copies.items()},
        "flops_per_sample": {name: one.flops_per_sample for name, one in costs.items()},
        "bytes_per_sample": {name: one.bytes_per_sample for name, one in costs.items()},
        "ceiling_samples_per_s": {
            f"{model}, {where}, {kind}": rate.median / one.flops_per_read_sample
            for model, one in costs.items()
            for where, by_type in rates.items()
            for kind, rate in by_type.items()
            if rate
        },
        "tcp_bytes_per_s": {name: rate.median for name, rate in flows.rates.items()},
        "file_samples_per_s": {name: rate.median for name, rate in files.items()},
    }
    record.finish()


if __name__ == "__main__":
    typer.run(main)
