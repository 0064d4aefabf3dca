"""Simulated reads made by several processes, in order: the same ones however many processes there are."""

import signal
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context

from reads.simulate import SimulatedRead, Simulation, simulated_read

TASK_BASES = 100_000
"""About how much a process makes at a time."""
TASKS_AHEAD = 2
"""Tasks a process that are made or wait to be taken, at most: what memory holds."""

_simulation: Simulation | None = None
"""What a worker process simulates, sent to it once."""


def simulated_in_order(simulation: Simulation, count: int, processes: int) -> Iterator[SimulatedRead]:
    """Yield reads 0 to `count` - 1. One process is this one; more are started, and end with the iteration."""
    each = max(1, round(TASK_BASES / simulation.mean_bases))
    tasks = (range(first, min(first + each, count)) for first in range(0, count, each))
    if processes == 1 or count <= each:
        for numbers in tasks:
            yield from (simulated_read(simulation, number) for number in numbers)
        return
    pool = ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=_begin, initargs=(simulation,)
    )
    try:
        ahead: deque[Future[list[SimulatedRead]]] = deque(
            pool.submit(_make, numbers) for numbers in islice(tasks, TASKS_AHEAD * processes)
        )
        while ahead:
            made = ahead.popleft().result()
            ahead.extend(pool.submit(_make, numbers) for numbers in islice(tasks, 1))
            yield from made
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(simulation: Simulation) -> None:
    global _simulation  # noqa: PLW0603 - a worker process has one
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asked decides
    _simulation = simulation


def _make(numbers: range) -> list[SimulatedRead]:
    if _simulation is None:
        raise RuntimeError("this process was started for something else")
    return [simulated_read(_simulation, number) for number in numbers]
