"""The reads that wait for an engine, in the order of their rank; shared by the engines of one model.

Bounded by admission, not here: what is admitted no longer, because nobody waits for it, is let go at once.
One lock guards it and the batches that the engines fill. Each engine waits for changes on a condition of its
own, on which its threads are alike, so that a change wakes one of them and not all.
"""

import heapq
import itertools
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from service.batch import rank
from service.job import Job

FORGOTTEN_MANY = 64
"""How many empty places the queue has before it is worth closing the gaps."""


@dataclass(slots=True, order=True)
class Place:
    """A job's place, empty once the job has left it. Equal ranks go in the order of their pushing."""

    rank: float
    serial: int
    job: Job | None = field(compare=False)


class ReadQueue:
    """Reads that wait. `samples_per_s` is how fast the engines work, for the rank of long reads."""

    def __init__(self, samples_per_s: Callable[[], float]) -> None:
        self.lock = threading.RLock()
        self._engines: list[threading.Condition] = []
        self.idle: set[object] = set()
        """The engines that have nothing to do: what comes is theirs before it is anybody's."""
        self._samples_per_s = samples_per_s
        self._heap: list[Place] = []
        self._places: dict[Job, Place] = {}
        self._serial = itertools.count()
        self._closed: Exception | None = None

    @property
    def closed(self) -> bool:
        """Return whether no job will come any more."""
        return self._closed is not None

    @property
    def waits(self) -> bool:
        """Return whether any read does."""
        return bool(self._places)

    def engine(self) -> threading.Condition:
        """Return the condition, on `lock`, on which the threads of one more engine wait."""
        self._engines.append(threading.Condition(self.lock))
        return self._engines[-1]

    def tell(self) -> None:
        """Wake a thread of each engine."""
        with self.lock:
            for engine in self._engines:
                engine.notify()

    def add(self, job: Job) -> None:
        """Push a new job, and forget it when it ends before its turn."""
        # Not the job itself: its future would hold on to it, and it to its future.
        job.outcome.add_done_callback(partial(self._forget_ended, weakref.ref(job)))
        self.push(job)

    def push(self, job: Job) -> None:
        """Put a job in its place, instead of the one it has. In a closed queue it fails at once."""
        with self.lock:
            if self._closed is not None:
                job.fail(self._closed)
                return
            self._leave(job)
            if job.outcome.done():
                return
            job.rank = rank(job.arrived_s, job.rest_samples / self._samples_per_s(), job.priority)
            place = self._places[job] = Place(job.rank, next(self._serial), job)
            heapq.heappush(self._heap, place)
            self.tell()

    def pop(self, wanted: Callable[[Job], bool]) -> Job | None:
        """Take the first job, if it is `wanted`; None otherwise."""
        with self.lock:
            job = self._first()
            if job is None or not wanted(job):
                return None
            self._leave(job)
            return job

    def has(self, wanted: Callable[[Job], bool]) -> bool:
        """Return whether the first job is `wanted`."""
        with self.lock:
            job = self._first()
            return job is not None and wanted(job)

    def close(self, error: Exception) -> None:
        """Fail what waits, and what comes, with `error`."""
        with self.lock:
            self._closed = self._closed or error
            for job in list(self._places):
                job.fail(error)
            self._places.clear()
            self._heap.clear()
            for engine in self._engines:
                engine.notify_all()

    def _first(self) -> Job | None:
        """Return the first job that has anything left: engines may have taken all of it meanwhile."""
        while self._heap:
            job = self._heap[0].job
            if job is None:
                heapq.heappop(self._heap)
            elif job.pending or not job.is_open:
                return job
            else:
                self._leave(job)
        return None

    def _leave(self, job: Job) -> bool:
        """Empty the place of a job; return whether it had one."""
        place = self._places.pop(job, None)
        if place is None:
            return False
        place.job = None
        if len(self._heap) > 2 * len(self._places) + FORGOTTEN_MANY:
            self._heap = [place for place in self._heap if place.job is not None]
            heapq.heapify(self._heap)
        return True

    def _forget_ended(self, ended: "weakref.ref[Job]", _outcome: object) -> None:
        job = ended()
        if job is not None:
            with self.lock:
                if self._leave(job):
                    self.tell()
