"""The packing rule: which chunks are scored together, and in what order reads get their turn.

Chunks are packed, not requests: of any reads, from any connections. A batch stays open, and is filled up,
until an engine takes it, so nothing waits while an engine is idle. Pure: knows no clock, thread or device.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.caller import ChunkCall
from service.job import Job, Priority

AGEING_S = 240.0
"""How long one class of priority goes before the next: who has waited longer goes first, whatever it is. Well
above the wait that requests are admitted to: those that wait no longer never go before the more urgent."""
LONG_S = 10.0
"""A read that needs the engines as long as this is long."""
LENGTH_S = 60.0
"""One that needs nothing goes before a long one as if it had come so much earlier."""


def rank(arrived_s: float, rest_s: float, priority: Priority) -> float:
    """Return when a job's turn would be if there was no other: the lowest goes first.

    High goes before normal before low, and among equals who has less left (`rest_s`, seconds of engine time)
    before who has more. As the rank of who waits is fixed and that of newcomers grows with the time, nobody
    waits behind anyone who came more than 2 * AGEING_S + LENGTH_S later.
    """
    return arrived_s + AGEING_S * priority + LENGTH_S * min(1.0, rest_s / LONG_S)


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """Chunks `rows` of one job."""

    job: Job
    rows: range


@dataclass(slots=True, eq=False)
class Batch:
    """Chunks to be scored together, at most `capacity` of them."""

    capacity: int
    slices: list[Slice] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Return how many chunks it has."""
        return sum(len(part.rows) for part in self.slices)

    @property
    def samples(self) -> float:
        """Return what it costs, in samples."""
        return sum(len(part.rows) * part.job.row_samples for part in self.slices)

    def room(self, job: Job) -> int:
        """Return how many chunks of `job` it can take: less urgent ones give way, unless it is their turn."""
        return self.capacity - sum(len(part.rows) for part in self.slices if not _gives_way(part.job, job))

    def add(self, job: Job) -> list[Job]:
        """Take as many of the pending chunks of `job` as there is room for; return the jobs that gave way,
        whose chunks are pending again."""
        displaced: list[Job] = []
        wanted = min(self.room(job), sum(len(rows) for rows in job.pending))
        while self.capacity - self.rows < wanted:
            part = max(
                (part for part in self.slices if _gives_way(part.job, job)), key=lambda part: part.job.rank
            )
            self.slices.remove(part)
            part.job.pending.appendleft(part.rows)
            displaced.append(part.job)
        while wanted:
            rows = job.take(wanted)
            self.slices.append(Slice(job, rows))
            wanted -= len(rows)
        return displaced

    def drop_finished(self) -> None:
        """Drop the chunks of jobs that have ended: nobody waits for them."""
        self.slices = [part for part in self.slices if not part.job.outcome.done()]

    def give_back(self) -> list[Job]:
        """Make all its chunks pending again; return their jobs."""
        for part in self.slices:
            part.job.pending.appendleft(part.rows)
        jobs = [part.job for part in self.slices]
        self.slices.clear()
        return jobs

    def signal(self) -> NDArray[np.float32]:
        """Return the chunks as one array [rows, chunk_samples]."""
        parts = [part.job.chunks.samples[part.rows.start : part.rows.stop] for part in self.slices]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def shares(self, calls: Sequence[ChunkCall]) -> list[tuple[Slice, list[ChunkCall]]]:
        """Return each slice with its part of `calls`, one a row in order. Raises ValueError for any other
        number of them."""
        if len(calls) != self.rows:
            raise ValueError(f"{self.rows} chunks were decoded to {len(calls)} calls")
        shares, at = [], 0
        for part in self.slices:
            shares.append((part, list(calls[at : at + len(part.rows)])))
            at += len(part.rows)
        return shares


def _gives_way(packed: Job, job: Job) -> bool:
    """Return whether what is packed of a job gives way to another: not once it is its turn."""
    return packed.priority > job.priority and packed.rank > job.rank
