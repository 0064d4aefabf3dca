"""The queue: whose turn it is, who is dropped, and what its closing does."""

import threading
import weakref

import pytest
from live_service import WAIT_S, random_signal, read_of

from service.errors import EngineError
from service.job import Job, Priority
from service.queue import FORGOTTEN_MANY, ReadQueue


def job(
    read_id: str, *, samples: int = 100, priority: Priority = Priority.NORMAL, arrived_s: float = 0
) -> Job:
    return Job(
        read_of(random_signal(samples), read_id), cost_samples=samples, priority=priority, arrived_s=arrived_s
    )


def queue_of(*jobs: Job) -> ReadQueue:
    queue = ReadQueue(lambda: 1000.0)
    for one in jobs:
        queue.add(one)
    return queue


def order(queue: ReadQueue, count: int) -> list[str]:
    jobs = [queue.pop(lambda _: True) for _ in range(count)]
    return [one.read.read_id for one in jobs if one]


def test_turns_go_by_urgency_then_length_then_arrival() -> None:
    jobs = (
        job("low", priority=Priority.LOW),
        job("long", samples=5000),
        job("second", arrived_s=0.1),
        job("first"),
        job("high", priority=Priority.HIGH, samples=5000),
    )
    assert order(queue_of(*jobs), 5) == ["high", "first", "second", "long", "low"]


def test_jobs_that_nobody_waits_for_are_dropped() -> None:
    gone, waited_for = job("gone"), job("waited for")
    queue = queue_of(gone, waited_for)
    gone.outcome.cancel()
    assert order(queue, 1) == ["waited for"]


def test_what_nobody_waits_for_is_not_kept_until_its_turn() -> None:
    queue = queue_of(job("first"), *(job(f"{n}", arrived_s=1) for n in range(500)))
    samples = job("gone", arrived_s=2)
    kept = weakref.ref(samples)
    queue.add(samples)
    samples.outcome.cancel()
    del samples
    assert kept() is None
    for place in list(queue._heap)[1:]:
        assert place.job is None or place.job.outcome.cancel()
    assert len(queue._heap) <= 2 + FORGOTTEN_MANY
    assert order(queue, 1) == ["first"]


def test_a_job_has_one_place_that_of_its_last_pushing() -> None:
    moved = job("moved", samples=5000)
    queue = queue_of(moved, job("second", arrived_s=1), job("third", arrived_s=2))
    moved.cost_samples = 100
    queue.push(moved)
    assert order(queue, 3) == ["moved", "second", "third"]
    assert len(queue._places) == 0


def test_who_waits_for_a_job_is_woken_by_it() -> None:
    queue = queue_of()
    engine = queue.engine()
    popped: list[Job | None] = []

    def wait() -> None:
        with engine:
            engine.wait_for(lambda: queue.has(lambda _: True))
            popped.append(queue.pop(lambda _: True))

    thread = threading.Thread(target=wait)
    thread.start()
    pushed = job("late")
    queue.push(pushed)
    thread.join(WAIT_S)
    assert popped == [pushed]


def test_a_job_that_is_not_wanted_keeps_its_turn() -> None:
    queue = queue_of(job("first"), job("second", arrived_s=1))
    assert not queue.has(lambda one: one.read.read_id == "second")
    assert queue.pop(lambda one: one.read.read_id == "second") is None
    assert order(queue, 2) == ["first", "second"]


def test_closing_fails_what_waits_and_what_comes() -> None:
    waiting, late = job("waiting"), job("late")
    queue = queue_of(waiting)
    queue.close(EngineError("closed"))
    queue.push(late)
    assert queue.pop(lambda _: True) is None
    for one in (waiting, late):
        with pytest.raises(EngineError, match="closed"):
            one.outcome.result(0)
