"""The reads that wait for an engine, in the order of their rank; shared by the engines of one model.

Bounded by admission, not here. Whoever waits for anything to change waits on `changed`, which guards the
batches that the engines fill, too. Jobs that nobody waits for any longer are dropped when their turn comes.
"""

import heapq
import itertools
import threading
from collections.abc import Callable

from service.batch import rank
from service.job import Job


class ReadQueue:
    """Reads that wait. `samples_per_s` is how fast the engines work, for the rank of long reads."""

    def __init__(self, samples_per_s: Callable[[], float]) -> None:
        self.changed = threading.Condition()
        self._samples_per_s = samples_per_s
        self._heap: list[tuple[float, int, Job]] = []
        # Jobs cannot be compared: equal ranks go in the order in which they were pushed.
        self._serial = itertools.count()
        self._closed: Exception | None = None

    @property
    def closed(self) -> bool:
        """Return whether no job will come any more."""
        return self._closed is not None

    def push(self, job: Job) -> None:
        """Put a job in its place. In a closed queue it fails at once."""
        with self.changed:
            if self._closed is not None:
                job.fail(self._closed)
                return
            rest_s = job.rest_samples / self._samples_per_s()
            heapq.heappush(self._heap, (rank(job.arrived_s, rest_s, job.priority), next(self._serial), job))
            self.changed.notify_all()

    def pop(self, wanted: Callable[[Job], bool]) -> Job | None:
        """Wait for the first job to be one that is `wanted` and take it; None once the queue is closed.

        `wanted` is asked again whenever something changes, with `changed` held.
        """
        with self.changed:
            while not self.closed:
                self._drop_finished()
                if self._heap and wanted(self._heap[0][2]):
                    return heapq.heappop(self._heap)[2]
                self.changed.wait()
            return None

    def close(self, error: Exception) -> None:
        """Fail what waits, and what comes, with `error`."""
        with self.changed:
            self._closed = self._closed or error
            for _, _, job in self._heap:
                job.fail(error)
            self._heap.clear()
            self.changed.notify_all()

    def _drop_finished(self) -> None:
        """Drop first jobs that have ended, or whose chunks other engines have taken meanwhile."""
        while self._heap:
            job = self._heap[0][2]
            if not job.outcome.done() and (job.pending or not job.is_open):
                return
            heapq.heappop(self._heap)
