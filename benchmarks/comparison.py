"""How others serve the same work: the same caller, weights, reads and client, in the same rounds.

    python -m benchmarks.comparison [--quick] [--only fiveways,ray] [--rounds 3] [--tune]

In each round every server is started, measured and ended by itself, in an order drawn anew: at saturation,
with the connections that were best in the first round, and then in open loop at half of that rate. --tune
instead tries each batching peer's workers and batch sizes, which is where their modules' defaults come from.
Tables on stderr; the last line of stdout is JSON.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Annotated

import psutil
import typer

from benchmarks.arms import Task, Worker
from benchmarks.environments import REQUIREMENTS
from benchmarks.hammer import Answers, Hammer, Load, Request
from benchmarks.measure import (
    Cell,
    Record,
    Section,
    at_least,
    at_most,
    chosen,
    end_in_order,
    interleave,
    machine,
    percentile,
    say,
    show,
    spread,
)
from benchmarks.servers import Kind, NotInstalledError, Server, peer, service
from benchmarks.serving import in_process, requests_of, spread_cells
from models import zoo
from reads.simulate import simulate_reads

OURS = "fiveways"
SERVERS = (OURS, "fastapi", *REQUIREMENTS)
CEILING = "in process"


@dataclass(frozen=True, slots=True)
class Scope:
    """How much to measure."""

    rounds: int = 3
    seconds: float = 5.0
    half_seconds: float = 8.0
    reads: int = 32
    read_bases: int = 4000
    connections: tuple[int, ...] = (8, 32, 96)
    tuned: tuple[tuple[int, int], ...] = ((1, 16), (2, 4), (2, 16), (2, 64))
    """Workers, and requests in a batch."""
    tuned_connections: tuple[int, ...] = (32,)
    tuned_half_seconds: float = 3.0


QUICK = Scope(1, 0.2, 0.5, 3, 300, (2, 4), ((1, 4), (2, 4)), (4,))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one server did in one round."""

    full: Answers
    half: Answers
    rss_bytes: int
    start_s: float
    connections: int
    """Those of `full`."""


@dataclass(slots=True)
class Visit:
    """Starts a server, measures it and ends it; `connections` are those that gave most at the first visit."""

    kind: Kind
    requests: tuple[Request, ...]
    hammer: Hammer
    scope: Scope
    connections: int | None = None

    def saturate(self, server: Server) -> Answers:
        """Return the answers in a closed loop, of the number of connections that gives most bases/s."""
        counts = (self.connections,) if self.connections else self.scope.connections
        found = {count: self._send(server, connections=count) for count in counts}
        self.connections = max(found, key=lambda count: found[count].bases_per_s)
        return found[self.connections]

    def __call__(self) -> Outcome:
        """Return what it did."""
        with Server(self.kind, self.requests[0]) as server:
            full = self.saturate(server)
            half = self._send(server, rate=full.requests_per_s / 2, seconds=self.scope.half_seconds)
            return Outcome(full, half, server.rss_bytes, server.start_s, self.connections or 0)

    def _send(
        self, server: Server, connections: int = 1, rate: float | None = None, seconds: float | None = None
    ) -> Answers:
        requests = tuple(map(self.kind.form, self.requests))
        load = Load((server.url,), requests, connections, seconds or self.scope.seconds, rate=rate)
        return self.hammer.send(load)


def kinds(names: Sequence[str], model: str) -> tuple[dict[str, Kind], dict[str, str]]:
    """Return the servers that are here, and what installs those that are not."""
    found: dict[str, Kind] = {}
    absent: dict[str, str] = {}
    for name in names:
        try:
            found[name] = service(model) if name == OURS else peer(name, model)
        except NotInstalledError as error:
            absent[name] = str(error)
    return found, absent


def rows_of(found: Mapping[str, Sequence[Outcome]], ceiling: float) -> list[tuple[Cell, ...]]:
    """Return a row for each server, the fastest first."""
    rows: list[tuple[Cell, ...]] = []
    for name, outcomes in found.items():
        bases = spread([one.full.bases_per_s for one in outcomes])
        latencies = [value for one in outcomes for value in one.half.latency_ms]
        rows.append(
            (
                name,
                *spread_cells(bases, 1e3),
                100 * bases.median / ceiling,
                percentile(latencies, 50),
                percentile(latencies, 99),
                spread([one.rss_bytes for one in outcomes]).median / 2**20,
                spread([one.start_s for one in outcomes]).median,
                sum(one.full.failures + one.half.failures for one in outcomes),
            )
        )
    return sorted(rows, key=lambda row: -float(row[1] or 0))


def ratios(
    found: Mapping[str, Sequence[Outcome]], value: Callable[[Outcome], float]
) -> dict[str, list[float]]:
    """Return ours over theirs, round by round."""
    return {
        name: [value(ours) / value(theirs) for ours, theirs in zip(found[OURS], outcomes, strict=True)]
        for name, outcomes in found.items()
        if name != OURS
    }


def p99_ms(outcome: Outcome) -> float:
    """Return the p99 at half of its own saturation."""
    return percentile(outcome.half.latency_ms, 99)


def compare(
    record: Record, servers: Mapping[str, Visit], absent: Mapping[str, str], task: Task, scope: Scope
) -> bool:
    """Measure all in rounds, and keep tables, aims and figures; return whether every server did its work."""
    rates: list[float] = []
    missing = {name: f"not installed: {command}" for name, command in absent.items()}
    failed: dict[str, str] = {}

    def visit(name: str) -> Outcome | None:
        try:
            return None if name in failed else servers[name]()
        except (RuntimeError, TimeoutError, psutil.Error) as error:
            failed[name] = f"failed: {error}"
            return None

    with Worker(in_process(task), task) as worker:
        per_sample = sum(map(len, worker.sequences)) / sum(len(read.signal) for read in task.reads)

        def ceiling() -> None:
            rates.append(worker.turn("both", scope.seconds).timing.per_s * per_sample)

        arms: dict[str, Callable[[], Outcome | None]] = {CEILING: ceiling}
        arms |= {name: partial(visit, name) for name in servers}
        found: dict[str, list[Outcome]] = {name: [] for name in servers}
        for number in range(scope.rounds):
            turns = interleave(arms, 1, seed=number)
            for name in servers:
                found[name] += [one for one in turns[name] if one is not None]
            whole = {name: outcomes for name, outcomes in found.items() if name not in failed}
            summarise(record, whole, rates, missing | failed)
    for section in record.sections:
        show(section)
    return not failed


def summarise(
    record: Record,
    found: Mapping[str, Sequence[Outcome]],
    rates: Sequence[float],
    missing: Mapping[str, str],
) -> None:
    """Keep what the rounds so far have found, in place of what was there; `missing` says why who is not."""
    columns = ("server", "kbases/s, median", "least", "greatest", "% of in process")
    columns += ("p50 at half of it, ms", "p99", "resident MiB", "start, s", "failures")
    rows = rows_of(found, spread(rates).median)
    rows.append((f"{CEILING}, no server", *spread_cells(spread(rates), 1e3), 100.0, *([None] * 5)))
    rows += [(f"{name} {why}", *([None] * 9)) for name, why in missing.items()]
    best = ", ".join(f"{name} {outcomes[-1].connections}" for name, outcomes in found.items())
    note = f"Connections that gave most: {best}. The start is until the first answer."
    record.sections = [
        Section(f"Peers on the same work, {record.settings['model']}", columns, tuple(rows), note)
    ]
    record.figures = {
        "in_process_bases_per_s": spread(rates).median,
        "peers": {
            name: {
                "bases_per_s": [one.full.bases_per_s for one in outcomes],
                "p50_ms": [percentile(one.half.latency_ms, 50) for one in outcomes],
                "p99_ms": [p99_ms(one) for one in outcomes],
                "rss_bytes": [one.rss_bytes for one in outcomes],
                "start_s": [one.start_s for one in outcomes],
                "connections": outcomes[-1].connections,
            }
            for name, outcomes in found.items()
        },
        "missing": dict(missing),
    }
    record.aims = []
    if OURS in found and len(found) > 1:
        _add_ratios(record, found)
    record.keep()


def _add_ratios(record: Record, found: Mapping[str, Sequence[Outcome]]) -> None:
    faster = {
        name: spread(values) for name, values in ratios(found, lambda one: one.full.bases_per_s).items()
    }
    slower = {name: spread(values) for name, values in ratios(found, p99_ms).items()}
    columns = ("fiveways over", "bases/s, median of rounds", "least", "greatest", "p99", "least", "greatest")
    rows = tuple((name, *spread_cells(faster[name]), *spread_cells(slower[name])) for name in faster)
    record.sections.append(Section("fiveways over each, round by round", columns, rows))
    record.aims += [at_least(f"bases/s over {name}'s", value.median, 1.0) for name, value in faster.items()]
    said = "p99 over {}'s, each at half of its own rate"
    record.aims += [at_most(said.format(name), value.median, 1.0) for name, value in slower.items()]


def tune(record: Record, visits: Mapping[str, Visit], scope: Scope) -> None:
    """Try the settings of each batching peer."""
    rows: list[tuple[Cell, ...]] = []
    figures: dict[str, dict[str, float]] = {}
    for name, visit in visits.items():
        arms = {}
        its_scope = replace(scope, connections=scope.tuned_connections, half_seconds=scope.tuned_half_seconds)
        for workers, batch_reads in scope.tuned:
            options = ("--workers", str(workers), "--batch-reads", str(batch_reads))
            kind = replace(visit.kind, command=(*visit.kind.command, *options))
            arms[" ".join(options)] = replace(visit, kind=kind, scope=its_scope)
        for options_said, outcomes in interleave(arms, scope.rounds).items():
            bases = spread([one.full.bases_per_s for one in outcomes])
            latencies = [value for one in outcomes for value in one.half.latency_ms]
            rows.append(
                (
                    f"{name} {options_said}",
                    *spread_cells(bases, 1e3),
                    percentile(latencies, 50),
                    percentile(latencies, 99),
                )
            )
            figures.setdefault(name, {})[options_said] = bases.median
    columns = ("peer", "kbases/s, median", "least", "greatest", "p50 at half of it, ms", "p99")
    record.add(Section("Settings of the peers", columns, tuple(rows)))
    record.figures["tuned_bases_per_s"] = figures


def main(
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Tiny sizes: shows that it runs, measures nothing.")
    ] = False,
    model: Annotated[str, typer.Option(help="A shipped model's name, or a model directory.")] = zoo.DEFAULT,
    only: Annotated[str, typer.Option(help=f"Some of {','.join(SERVERS)}, with commas between.")] = "",
    rounds: Annotated[
        int | None, typer.Option(min=1, help="How often each is measured; 3 unless told.")
    ] = None,
    tuning: Annotated[bool, typer.Option("--tune", help="Try the peers' settings instead.")] = False,
) -> None:
    """Measure the peers on this machine."""
    end_in_order()
    wanted = chosen(only, SERVERS)
    scope = QUICK if quick else Scope()
    if rounds:
        scope = replace(scope, rounds=rounds)
    record = Record("comparison", {"quick": quick, "model": model, "servers": wanted}, machine())
    reads = tuple(
        one.read for one in islice(simulate_reads(seed=9, mean_bases=scope.read_bases), scope.reads)
    )
    found, absent = kinds(wanted, model)
    for name, command in absent.items():
        say(f"{name} is not installed: {command}")
    with Hammer() as hammer:
        visit = partial(Visit, requests=requests_of(reads), hammer=hammer, scope=scope)
        visits = {name: visit(kind) for name, kind in found.items()}
        all_did = True
        if tuning:
            tune(record, {name: visits[name] for name in visits if name in REQUIREMENTS}, scope)
        else:
            task = Task(model, str(zoo.find_device("auto")), reads)
            all_did = compare(record, visits, absent, task, scope)
    record.finish()
    raise typer.Exit(not all_did)


if __name__ == "__main__":
    typer.run(main)
