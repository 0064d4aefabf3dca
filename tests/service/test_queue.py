"""The queue: whose turn it is, who is dropped, and what its closing does."""

import threading

import pytest
from live_service import WAIT_S, random_signal, read_of

from service.errors import EngineError
from service.job import Job, Priority
from service.queue import ReadQueue


def job(
    read_id: str, *, samples: int = 100, priority: Priority = Priority.NORMAL, arrived_s: float = 0
) -> Job:
    return Job(
        read_of(random_signal(samples), read_id), cost_samples=samples, priority=priority, arrived_s=arrived_s
    )


def queue_of(*jobs: Job) -> ReadQueue:
    queue = ReadQueue(lambda: 1000.0)
    for one in jobs:
        queue.push(one)
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


def test_who_waits_for_a_job_is_woken_by_it() -> None:
    queue = queue_of()
    popped: list[Job | None] = []
    thread = threading.Thread(target=lambda: popped.append(queue.pop(lambda _: True)))
    thread.start()
    pushed = job("late")
    queue.push(pushed)
    thread.join(WAIT_S)
    assert popped == [pushed]


def test_a_job_that_is_not_wanted_keeps_its_turn() -> None:
    queue = queue_of(job("first"), job("second", arrived_s=1))
    assert queue.pop(lambda one: one.read.read_id == "first") is not None
    popped: list[Job | None] = []
    wanted = threading.Event()
    thread = threading.Thread(target=lambda: popped.append(queue.pop(lambda _: wanted.is_set())))
    thread.start()
    wanted.set()
    with queue.changed:
        queue.changed.notify_all()
    thread.join(WAIT_S)
    assert [one.read.read_id for one in popped if one] == ["second"]


def test_closing_fails_what_waits_and_what_comes() -> None:
    waiting, late = job("waiting"), job("late")
    queue = queue_of(waiting)
    queue.close(EngineError("closed"))
    queue.push(late)
    assert queue.pop(lambda _: True) is None
    for one in (waiting, late):
        with pytest.raises(EngineError, match="closed"):
            one.outcome.result(0)
