"""How fast signal becomes bases in one process, beside what the machine can do at most.

    python -m benchmarks.engine [--quick] [--rounds 7] [--model MODEL] [--device auto|cpu|cuda:0]
                                [--batches 32,64,128] [--reads FILES --reference FASTA]

PyTorch's plain modules, the basecaller in float32, and as it ships, in interleaved rounds: each stage alone
and all of them, with every core to itself and with one busy competitor a core; and how far the calls differ.
Tables on stderr; the last line of stdout is JSON.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.arms import CPU_ARMS, CUDA_ARMS, STAGES, AbsentArmError, Arm, Task, Turn, Worker, competitors
from benchmarks.ceilings import (
    CPU_SIZES,
    GPU_SIZES,
    QUICK,
    TYPES,
    Effort,
    core_words,
    matrix_rate,
    torch_threads,
)
from benchmarks.costs import Cost, cost
from benchmarks.identity import mapped_identity, percent_identity
from benchmarks.measure import (
    Cell,
    Record,
    Section,
    at_least,
    at_most,
    end_in_order,
    interleave,
    machine,
    ratio,
    spread,
)
from models import zoo
from models.config import load_config
from reads.cores import usable_cores
from reads.files import open_reads
from reads.read import Read
from reads.simulate import simulate_reads

REFERENCE_ARM = CPU_ARMS[0].name
QUICK_CHUNKS, QUICK_CHUNK_SAMPLES = 4, 500
GPU_READS = 240
"""Reads for a GPU: some batches of a thousand chunks."""
MOST_SHARED_ROUNDS = 3
"""PyTorch's threads can take half a minute for one batch where others want the cores."""
CEILING_TYPES = {"cpu": ("float32", "bfloat16", "int8"), "cuda": ("float32", "bfloat16", "float16")}
"""What the engines of a device multiply in."""


@dataclass(frozen=True, slots=True)
class Scope:
    """How much to measure."""

    rounds: int = 7
    least_s: float = 2.0
    reads: int = 24
    read_bases: int = 8000


@dataclass(frozen=True, slots=True)
class Work:
    """The reads, and what is known of them: their sequences where they are simulated, or else a reference."""

    reads: tuple[Read, ...]
    truths: tuple[str, ...] = ()
    reference: Path | None = None


def simulated(scope: Scope) -> Work:
    """Return simulated reads and their truth."""
    made = list(islice(simulate_reads(seed=9, mean_bases=scope.read_bases), scope.reads))
    return Work(tuple(one.read for one in made), tuple(one.sequence for one in made))


def measure(
    workers: Mapping[str, Worker], device: torch.device, scope: Scope, effort: Effort
) -> tuple[dict[str, list[Turn]], dict[str, list[float | None]]]:
    """Return the turns of every arm and stage, by "arm|stage", and the matrix rates by type [FLOP/s], all of
    the same rounds."""
    turns: dict[str, Callable[[], Any]] = {}

    def matrix(kind: str) -> float | None:
        with torch_threads(usable_cores()):
            return matrix_rate(TYPES[kind], device, effort)

    for name, worker in workers.items():
        for stage in STAGES:
            turns[f"{name}|{stage}"] = partial(worker.turn, stage, scope.least_s)
    for kind in CEILING_TYPES[device.type]:
        turns[f"matrix|{kind}"] = partial(matrix, kind)
    found = interleave(turns, scope.rounds)
    rates = {kind: found.pop(f"matrix|{kind}") for kind in CEILING_TYPES[device.type]}
    return found, rates


def measure_shared(workers: Mapping[str, Worker], scope: Scope) -> dict[str, list[tuple[Turn, Turn]]]:
    """Return the turns of every arm with the cores to itself and then with one busy competitor a core."""

    def pair(worker: Worker) -> tuple[Turn, Turn]:
        quiet = worker.turn("batch", scope.least_s)
        with competitors():
            return quiet, worker.turn("batch", scope.least_s)

    arms = {name: partial(pair, worker) for name, worker in workers.items()}
    return interleave(arms, min(scope.rounds, MOST_SHARED_ROUNDS))


def rate_rows(
    arms: Sequence[str], found: Mapping[str, Sequence[Turn]], ceiling: float | None
) -> tuple[tuple[Cell, ...], ...]:
    """Return a row for each arm and stage: samples/s, share of the ceiling, samples per core's second."""
    rows: list[tuple[Cell, ...]] = []
    for arm in arms:
        for stage in STAGES:
            turns = found[f"{arm}|{stage}"]
            rate = spread([turn.timing.per_s for turn in turns])
            by_cpu = spread([turn.timing.per_cpu_s for turn in turns])
            share = None if stage == "decoding" else ratio(rate.median, ceiling)
            rows.append(
                (
                    f"{arm}: {stage}",
                    rate.median / 1e3,
                    rate.least / 1e3,
                    rate.greatest / 1e3,
                    None if share is None else 100 * share,
                    by_cpu.median / 1e3,
                )
            )
    return tuple(rows)


def shares(turns: Sequence[Turn]) -> list[float]:
    """Return the shares of processor time that decoding took, of the turns that tell."""
    return [turn.decode_share for turn in turns if turn.decode_share is not None]


def kept_shares(pairs: Sequence[tuple[Turn, Turn]]) -> list[float]:
    """Return which share of its quiet rate an arm kept on shared cores, round by round."""
    return [shared.timing.per_s / quiet.timing.per_s for quiet, shared in pairs]


def identities(work: Work, calls: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Return the mean identity to the truth, or to the reference, of each arm's calls [%]."""
    if work.truths:
        return {name: percent_identity(sequences, work.truths) for name, sequences in calls.items()}
    if work.reference:
        return {name: mapped_identity(sequences, work.reference) for name, sequences in calls.items()}
    return {}


def batch_rows(arm: Arm, task: Task, sizes: Sequence[int], scope: Scope) -> tuple[tuple[Cell, ...], ...]:
    """Return a row for each batch size: the network's and the whole rate of one arm [ksamples/s]."""
    rows: list[tuple[Cell, ...]] = []
    with ExitStack() as stack:
        workers = {size: stack.enter_context(Worker(arm, replace(task, batch_chunks=size))) for size in sizes}
        arms = {
            f"{size}|{stage}": partial(worker.turn, stage, scope.least_s)
            for size, worker in workers.items()
            for stage in ("network", "both")
        }
        found = interleave(arms, scope.rounds)
    for size in sizes:
        rates = [
            spread([turn.timing.per_s for turn in found[f"{size}|{stage}"]]) for stage in ("network", "both")
        ]
        rows.append((str(size), *(rate.median / 1e3 for rate in rates)))
    return tuple(rows)


def parse_sizes(said: str) -> tuple[int, ...]:
    """Return the batch sizes of "32,64"; typer.BadParameter where it is not that."""
    try:
        sizes = tuple(int(size) for size in said.split(",") if size)
    except ValueError as error:
        raise typer.BadParameter(
            f"{said!r} is not numbers of chunks with commas between, such as 32,64"
        ) from error
    if any(size < 1 for size in sizes):
        raise typer.BadParameter("a batch has at least one chunk")
    return sizes


def real(paths: Sequence[Path], reference: Path | None, most: int) -> Work:
    """Return the first reads of files."""
    with open_reads(paths) as stream:
        return Work(tuple(islice(stream, most)), reference=reference)


def main(
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Tiny sizes: shows that it runs, measures nothing.")
    ] = False,
    rounds: Annotated[int, typer.Option(min=1, help="How often each engine has its turn.")] = 7,
    model: Annotated[str, typer.Option(help="A shipped model's name, or a model directory.")] = zoo.DEFAULT,
    device: Annotated[str, typer.Option(help="auto, cpu, or cuda:N.")] = "auto",
    batches: Annotated[str, typer.Option(help="Also the rate at these batch sizes, such as 32,64,128.")] = "",
    reads: Annotated[
        list[Path] | None, typer.Option(help="Files of reads, instead of simulated ones.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="What --reads are of, to tell their identity.")
    ] = None,
    reads_count: Annotated[int, typer.Option(min=1, help="The most of --reads that are called.")] = 200,
) -> None:
    """Measure the engines on this machine."""
    end_in_order()
    if reference and not reads:
        raise typer.BadParameter("--reference is of real reads: name them with --reads")
    sizes = parse_sizes(batches)
    scope = Scope(2, 0.01, 2, 200) if quick else Scope(rounds)
    found_device = zoo.find_device(device)
    sizes_of_products = GPU_SIZES if found_device.type == "cuda" else CPU_SIZES
    effort = QUICK if quick else Effort(rounds=1, least_s=0.5, sizes=sizes_of_products)
    if found_device.type == "cuda" and not quick:
        scope = replace(scope, reads=GPU_READS)
    where = str(found_device) if found_device.type == "cuda" else "cpu"
    work = real(reads, reference, reads_count) if reads else simulated(scope)
    arms = CUDA_ARMS if found_device.type == "cuda" else CPU_ARMS
    samples = sum(len(read.signal) for read in work.reads)
    record = Record(
        "engine",
        {"quick": quick, "model": model, "device": where, "reads": len(work.reads), "samples": samples},
        machine()
        | ({"gpu": torch.cuda.get_device_name(found_device)} if found_device.type == "cuda" else {}),
    )
    task = Task(model, where, work.reads)
    if quick:
        task = replace(task, batch_chunks=QUICK_CHUNKS, chunk_samples=QUICK_CHUNK_SAMPLES)
    _measure_all(record, work, task, arms, found_device, scope, effort)
    if sizes:
        columns = ("chunks in a batch", "network, ksamples/s", "both, ksamples/s")
        rows = batch_rows(arms[-1], task, sizes, scope)
        record.add(Section(f"Batch sizes: {arms[-1].name}", columns, rows))
    record.finish()


def _measure_all(
    record: Record,
    work: Work,
    task: Task,
    arms: Sequence[Arm],
    device: torch.device,
    scope: Scope,
    effort: Effort,
) -> None:
    one_cost: Cost = cost(load_config(zoo.find(task.model)))
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        absent: list[str] = []
        for arm in arms:
            try:
                workers[arm.name] = stack.enter_context(Worker(arm, task))
            except AbsentArmError as error:
                absent.append(str(error))
        calls = {name: worker.sequences for name, worker in workers.items()}
        found, matrix = measure(workers, device, scope, effort)
        shared = measure_shared(workers, scope) if device.type == "cpu" else {}
    best = {kind: [rate for rate in rates if rate] for kind, rates in matrix.items()}
    medians = {kind: spread(rates).median if rates else None for kind, rates in best.items()}
    known = [rate for rate in medians.values() if rate]
    ceiling = max(known) / one_cost.flops_per_read_sample if known else None
    _add_rates(record, list(workers), found, medians, ceiling, absent)
    if shared:
        _add_shared(record, shared)
    _add_identity(record, work, calls)
    _add_aims(record, list(workers), found, ceiling)


def _add_rates(
    record: Record,
    names: Sequence[str],
    found: Mapping[str, Sequence[Turn]],
    matrix: Mapping[str, float | None],
    ceiling: float | None,
    absent: Sequence[str],
) -> None:
    cores = core_words(usable_cores())
    said = ", ".join(f"{kind} {rate / 1e9:,.0f} G/s" for kind, rate in matrix.items() if rate)
    allows = f"; the fastest allows {ceiling / 1e3:,.0f} ksamples/s" if ceiling else ""
    notes = [f"Matrix rate of the same rounds: {said}{allows}.", *(f"Absent: {why}." for why in absent)]
    columns = (
        "engine: stage",
        "ksamples/s, median",
        "least",
        "greatest",
        "% of ceiling",
        "per core's second",
    )
    title = f"{record.settings['model']} on {record.settings['device']}, {cores}"
    record.add(Section(title, columns, rate_rows(names, found, ceiling), " ".join(notes)))
    decoding = {name: shares(found[f"{name}|both"]) for name in names}
    rows = tuple(
        (
            name,
            100 * spread(values).median if values else None,
            max(turn.rss_bytes for turn in found[f"{name}|both"]) / 2**20,
        )
        for name, values in decoding.items()
    )
    record.add(Section("Decoding and memory", ("engine", "% of CPU time in decoding", "resident MiB"), rows))
    record.figures |= {
        "ceiling_samples_per_s": ceiling,
        "matrix_flops_per_s": dict(matrix),
        "samples_per_s": {
            key.replace("|", ": "): spread([turn.timing.per_s for turn in turns]).median
            for key, turns in found.items()
        },
    }


def _add_shared(record: Record, found: Mapping[str, Sequence[tuple[Turn, Turn]]]) -> None:
    rows: list[tuple[Cell, ...]] = []
    for name, pairs in found.items():
        kept = spread(kept_shares(pairs))
        rate = spread([shared.timing.per_s for _, shared in pairs])
        rows.append((name, rate.median / 1e3, 100 * kept.median, 100 * kept.least, 100 * kept.greatest))
    columns = ("engine", "ksamples/s", "% of quiet kept, median", "least", "greatest")
    note = "Reads that fill one batch. Half is all that a fair share of the cores allows."
    record.add(Section("Shared cores: one busy competitor a core", columns, tuple(rows), note))
    record.figures["kept_on_shared_cores"] = {
        name: spread(kept_shares(pairs)).median for name, pairs in found.items()
    }


def _add_identity(record: Record, work: Work, calls: Mapping[str, Sequence[str]]) -> None:
    found = identities(work, calls)
    if not found:
        return
    reference = next(iter(found))
    equal = {name: sum(a == b for a, b in zip(calls[name], calls[reference], strict=True)) for name in found}
    rows = tuple(
        (name, f"{value:.3f}", f"{value - found[reference]:+.3f}", f"{equal[name]} of {len(calls[name])}")
        for name, value in found.items()
    )
    columns = ("engine", "identity, %", f"less that of {reference}", "calls that are the same")
    record.add(Section("Identity", columns, rows))
    record.figures["identity_percent"] = found


def _add_aims(
    record: Record, names: Sequence[str], found: Mapping[str, Sequence[Turn]], ceiling: float | None
) -> None:
    ours = names[-1]
    rates = {name: spread([turn.timing.per_s for turn in found[f"{name}|both"]]).median for name in names}
    decoding = shares(found[f"{ours}|both"])
    if record.settings["device"] == "cpu":
        faster = spread(
            [
                a.timing.per_s / b.timing.per_s
                for a, b in zip(found[f"{ours}|both"], found[f"{REFERENCE_ARM}|network"], strict=True)
            ]
        ).median
        kept = record.figures["kept_on_shared_cores"][ours]
        record.aims += [
            at_least(f"{ours}, with decoding, over PyTorch float32 without", faster, 4.0),
            at_least("share of the matrix ceiling, with decoding", ratio(rates[ours], ceiling), 0.55),
            at_most("share of CPU time in decoding", spread(decoding).median if decoding else None, 0.15),
            at_least("share of its quiet rate kept on shared cores", kept, 0.45),
        ]
    identity = record.figures.get("identity_percent")
    if identity:
        moved = abs(identity[ours] - identity[REFERENCE_ARM])
        record.aims.append(at_most("points by which identity moves from float32", moved, 0.05))


if __name__ == "__main__":
    typer.run(main)
