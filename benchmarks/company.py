"""The same reads, sent alone and among many others: what comes back is the same, and every base is counted.

`company` is what a read meets in the batches that its chunks are in. Loopback only.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count, islice
from pathlib import Path

from benchmarks.measure import Finding
from benchmarks.replica import Replica
from models.basecall import Basecall
from reads.read import Read
from reads.simulate import simulate_reads
from service.client import Client
from service.client_errors import NotCalledError

MEAN_BASES = 800
OTHERS = 32
"""So many different reads are the company."""


def company(folder: Path, model: str, reads: int) -> list[Finding]:
    """Call `reads` reads by `model`, each alone and then all among others."""
    simulated = (one.read for one in simulate_reads(seed=7, mean_bases=MEAN_BASES))
    ours, others = list(islice(simulated, reads)), list(islice(simulated, OTHERS))
    problems: list[str] = []
    over = threading.Event()
    with (
        Replica(folder / "company.log", model=model, batch_s=0.02) as replica,
        ThreadPoolExecutor(1) as beside,
    ):
        before = replica.metric("fiveways_bases_total")
        alone = [call for read in ours for call in _call(replica, iter([read]), problems)]
        crowd = beside.submit(_call, replica, _again_and_again(others, over), problems)
        try:
            together = _call(replica, iter(ours), problems)
        finally:
            over.set()
        answered = sum(len(call.sequence) for call in [*alone, *together, *crowd.result()])
        counted = replica.metric("fiveways_bases_total") - before
    differ = sum(_facts(one) != _facts(other) for one, other in zip(alone, together, strict=True))
    return [
        Finding("reads sent twice", len(ours)),
        Finding("reads of their company", len(crowd.result())),
        Finding("answers that company changed", differ, "0", differ == 0),
        Finding("failures that clients saw", len(problems), "0", not problems),
        *(Finding("a failure", problem) for problem in problems[:3]),
        Finding("bases in the answers", answered),
        Finding("bases counted by the server", counted, f"{answered:,}", counted == answered),
    ]


def _call(replica: Replica, reads: Iterator[Read], problems: list[str]) -> list[Basecall]:
    def problem(read: Read, error: NotCalledError) -> None:
        problems.append(f"{read.read_id}: {error}")

    with Client([replica.url]) as client:
        calls = client.call(reads, client.model(), on_problem=problem, with_moves=True)
        return [call for _, call in calls]


def _again_and_again(reads: list[Read], over: threading.Event) -> Iterator[Read]:
    """Yield all reads, and these again under other names until it is over."""
    for turn in count():
        for read in reads:
            if turn and over.is_set():
                return
            yield replace(read, read_id=f"{read.read_id}-{turn}")


def _facts(call: Basecall) -> tuple[str, str, bytes, int]:
    return call.sequence, call.qstring, call.moves.tobytes(), call.stride
