"""An engine: one device working through the reads of a queue, a few threads and three places in a row.

fill (queue -> chunks in the open batch) -> score (the network) -> finish (decode -> stitch -> answer). A
thread goes with its batch from place to place, so that nothing is handed over; while one batch is scored, the
next is being filled and the one before decoded. All wait, and none polls. A device that works by itself is
asked for as many batches ahead as its caller says, also while one is decoded, and finish waits for it. An
engine that fails answers its batches, loads its caller anew and goes on. Knows neither requests nor the event
loop.
"""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from models.caller import Caller
from models.errors import ModelError
from service.batch import Batch
from service.drain_rate import DrainRate
from service.errors import EngineError, ImpossibleRequestError
from service.job import Job
from service.metrics import EngineMetrics
from service.queue import ReadQueue

logger = logging.getLogger(__name__)

RESTARTS = 5
"""Failures in a row after which an engine gives up."""
BACKOFF_S = 1.0
"""Pause before the first restart of a row; doubled for each further one."""
STALL_S = 120.0
"""An engine that works this long on one step is not healthy."""
JOIN_S = 5.0
"""How long a stopping engine is waited for: a batch cannot be interrupted."""
PLACES = 3
"""Fill, score, finish."""


class Engine:
    """Works on `queue` until that is closed or the engine dead, when `died` is called in one of its threads.

    A context manager: the threads live inside it. Close the queue before leaving it.
    """

    def __init__(
        self,
        device: str,
        caller: Caller,
        reload: Callable[[], Caller],
        queue: ReadQueue,
        metrics: EngineMetrics,
        died: Callable[[], None],
    ) -> None:
        self.device = device
        self.rate = DrainRate()
        self._reload = reload
        self._caller = caller
        self._queue = queue
        self._metrics = metrics
        self._died = died
        self._capacity = caller.batch_chunks
        self._open = Batch(self._capacity)
        self._changed = queue.engine()
        self._filling = False
        """Whether a thread is cutting a read, or restarting; `queue.lock` guards this and the next."""
        self._scoring = False
        """Whether a batch is being scored, or waits until fewer before it are to be finished."""
        unfinished = max(1, caller.in_flight)
        self._unfinished = threading.Semaphore(unfinished)
        """Places for batches that were scored: one is finished, on the others a device works meanwhile."""
        self._finishing = threading.Lock()
        self._failures = 0
        self._broken = False
        self._dead = False
        self._stopping = threading.Event()
        self._busy_since_s: dict[str, float] = {}
        self._finished_s = 0.0
        self._threads = [
            threading.Thread(target=self._work, name=f"{device} {number}", daemon=True)
            for number in range(PLACES - 1 + unfinished)
        ]

    @property
    def caller(self) -> Caller:
        """Return the caller that the engine works with now."""
        return self._caller

    @property
    def dead(self) -> bool:
        """Return whether it has given up."""
        return self._dead

    @property
    def healthy(self) -> bool:
        """Return whether it works, or could."""
        now_s = time.monotonic()
        stalled = any(now_s - since_s > STALL_S for since_s in self._busy_since_s.copy().values())
        return not self._dead and not stalled

    def __enter__(self) -> Self:
        self._queue.idle.add(self)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(JOIN_S)
            if thread.is_alive():
                logger.warning("thread still at work", extra={"thread": thread.name})

    def _work(self) -> None:
        """Carry a batch after the other through the places, until there are none."""
        try:
            while self._carry():
                pass
        except Exception:
            logger.exception("engine thread ended", extra={"device": self.device})
            self._give_up()

    def _carry(self) -> bool:
        """Carry one batch through the places; return whether there was one."""
        batch = self._fill()
        if batch is None:
            return False
        caller = self._caller
        began_s = self._busy_since_s["score"] = time.monotonic()
        try:
            scores = caller.score(batch.signal())
        except Exception as error:  # noqa: BLE001 - whatever a device may raise, the next batch goes on
            self._failed(batch, caller, error)
            self._free_scoring()
            return True
        finally:
            del self._busy_since_s["score"]
        score_s = time.monotonic() - began_s
        with self._unfinished:
            # Not before: no more batches' scores are in memory than these and the next one's.
            self._free_scoring()
            with self._finishing:
                self._finish(batch, scores, caller, began_s=began_s, score_s=score_s)
        return True

    def _give_up(self) -> None:
        logger.error("engine gives up", extra={"device": self.device})
        self._dead = True
        self._put_down()
        self._died()

    def _put_down(self) -> None:
        """Take no reads until a restart, and leave those that are packed to other engines."""
        with self._queue.lock:
            self._broken = True
            self._queue.idle.discard(self)
            for job in self._open.give_back():
                self._queue.push(job)
            self._queue.tell()

    # Fill.

    def _fill(self) -> Batch | None:
        """Fill the open batch until it can be scored and return it; None once there will be none.

        Restarts first where that is needed.
        """
        while True:
            with self._queue.lock:
                self._changed.wait_for(self._can_go_on)
                if self._dead:
                    self._changed.notify()
                    return None
                batch = None if self._broken or self._scoring else self._take()
                job = None if batch else self._queue.pop(self._wanted)
                if job is None and not self._broken:
                    # One thread goes: another may be needed here, or can go as well.
                    if self._can_go_on():
                        self._changed.notify()
                    if batch or (self._queue.closed and not self._open.slices):
                        return batch
                    continue
                self._filling = True
            works = self._pack(job) if job else self._restart()
            # Who waits holds on to no read.
            del job
            with self._queue.lock:
                self._filling = False
                if not works:
                    self._changed.notify()
                    return None

    def _can_go_on(self) -> bool:
        """Return whether there is anything to do for a thread that is free; `queue.lock` is held."""
        if self._dead:
            return True
        if self._filling:
            return False
        if self._broken:
            return not self._scoring
        packed = bool(self._open.slices)
        return (
            (packed and not self._scoring)
            or (self._queue.closed and not packed)
            or self._queue.has(self._wanted)
        )

    def _take(self) -> Batch | None:
        """Take the place to be scored with what is packed, if anyone still waits for that."""
        batch, self._open = self._open, Batch(self._capacity)
        batch.drop_finished()
        if not batch.slices:
            return None
        self._scoring = True
        self._queue.idle.discard(self)
        if self._queue.waits:
            self._queue.tell()
        return batch

    def _free_scoring(self) -> None:
        with self._queue.lock:
            self._scoring = False
            if not self._broken:
                self._queue.idle.add(self)
            if self._can_go_on():
                self._changed.notify()

    def _pack(self, job: Job) -> bool:
        """Put as much of the job as there is room for into the open batch; always go on."""
        if job.is_open or self._cut(job):
            with self._queue.lock:
                takes = not self._broken and not self._queue.closed
                for waiting in [*self._open.add(job), job] if takes else [job]:
                    if waiting.pending:
                        self._queue.push(waiting)
        return True

    def _wanted(self, job: Job) -> bool:
        # What one engine holds ready while it works is work that an idle one could do now.
        due = self in self._queue.idle or not self._queue.idle
        return due and not self._broken and self._open.room(job) > 0

    def _cut(self, job: Job) -> bool:
        """Cut the job's read into chunks; return whether there is something to score."""
        self._busy_since_s["fill"] = time.monotonic()
        try:
            job.open(self._caller)
        except ModelError as error:
            job.fail(ImpossibleRequestError(str(error)))
        except Exception:
            logger.exception("a read could not be cut", extra={"read_id": job.read.read_id})
            job.fail(EngineError("the read could not be cut into chunks"))
        else:
            if not job.pending:
                self._stitch(job, self._caller)
        finally:
            del self._busy_since_s["fill"]
        return bool(job.pending)

    def _restart(self) -> bool:
        """Load the caller anew, pausing longer after each failure in a row, or give up; return which."""
        while self._failures <= RESTARTS:
            pause_s = BACKOFF_S * 2.0 ** (self._failures - 1)
            logger.warning("engine restarts", extra={"device": self.device, "pause_s": pause_s})
            if self._stopping.wait(pause_s):
                return False
            self._metrics.engine_restarts.inc()
            try:
                self._caller = self._reload()
            except Exception:
                logger.exception("engine could not be restarted", extra={"device": self.device})
                self._failures += 1
            else:
                with self._queue.lock:
                    self._broken = False
                    self._queue.idle.add(self)
                return True
        self._give_up()
        return False

    # Finish.

    def _finish(self, batch: Batch, scores: Any, caller: Caller, *, began_s: float, score_s: float) -> None:
        finishing_s = self._busy_since_s["finish"] = time.monotonic()
        try:
            caller.wait(scores)
            waited_s = time.monotonic() - finishing_s
            shares = batch.shares(caller.decode(scores))
        except Exception as error:  # noqa: BLE001 - as for scoring
            self._failed(batch, caller, error)
        else:
            self._failures = 0
            decode_s = time.monotonic() - finishing_s - waited_s
            for part, calls in shares:
                part.job.compute_s += score_s + waited_s
                part.job.decode_s += decode_s
                if part.job.store(part.rows, calls):
                    self._stitch(part.job, caller)
            self._count(batch, began_s)
        finally:
            del self._busy_since_s["finish"]

    def _stitch(self, job: Job, caller: Caller) -> None:
        began_s = time.monotonic()
        try:
            call = job.stitch(caller)
        except Exception:
            logger.exception("a read's calls could not be joined", extra={"read_id": job.read.read_id})
            job.fail(EngineError("the calls of the read's chunks could not be joined"))
        else:
            job.decode_s += time.monotonic() - began_s
            job.answer(call)

    def _count(self, batch: Batch, began_s: float) -> None:
        ended_s = time.monotonic()
        fill = batch.rows / batch.capacity
        # Batches overlap: what this one took is what it adds to the one before.
        busy_s = ended_s - max(began_s, self._finished_s)
        self.rate.add(batch.samples, busy_s, fill=fill)
        self._finished_s = ended_s
        self._metrics.busy_seconds.inc(busy_s)
        self._metrics.batch_fill.observe(fill)

    # Failures, in either place.

    def _failed(self, batch: Batch, caller: Caller, error: Exception) -> None:
        if out_of_memory(error) and batch.rows > 1:
            self._capacity = max(1, batch.rows // 2)
            logger.warning(
                "out of memory: smaller batches", extra={"device": self.device, "chunks": self._capacity}
            )
            with self._queue.lock:
                for job in batch.give_back():
                    self._queue.push(job)
            return
        logger.error("batch failed", exc_info=error, extra={"device": self.device, "chunks": batch.rows})
        # All that were in flight fail with the first, some when the caller has been loaded anew.
        if caller is self._caller and not self._broken:
            self._failures += 1
            self._put_down()
        self._fail(batch, "the engine failed on the batch that this read was in")

    def _fail(self, batch: Batch, why: str) -> None:
        for part in batch.slices:
            part.job.fail(EngineError(why))


def out_of_memory(error: Exception) -> bool:
    """Return whether a device, or the machine, had too little memory."""
    # torch.OutOfMemoryError, by name: callers need not be torch's.
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
