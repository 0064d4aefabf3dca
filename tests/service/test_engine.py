"""Engines at work on a model's queue: what they answer, and what they do when a device fails."""

import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from live_service import WAIT_S, GatedCaller, TinyCaller, expected_sequence, random_signal, read_of, wait_for
from numpy.typing import NDArray

from models.basecall import Basecall
from models.caller import Caller, ChunkCall, Chunks
from reads.read import Read, Signal
from service import engine
from service.errors import EngineError, ImpossibleRequestError
from service.job import Job, Priority
from service.metrics import Metrics
from service.served import ServedModel


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "BACKOFF_S", 0.001)


@contextmanager
def working(*callers: Caller, metrics: Metrics | None = None) -> Iterator[ServedModel]:
    """A model with an engine for each caller; a restarted engine gets its caller again."""
    devices = [str(number) for number in range(len(callers))]
    with ServedModel(lambda device: callers[int(device)], devices, metrics or Metrics()) as model:
        yield model


def submit(model: ServedModel, signal: Signal, priority: Priority = Priority.NORMAL) -> Job:
    return model.submit(read_of(signal), priority=priority, arrived_s=0)


def sequence(job: Job) -> str:
    return job.outcome.result(WAIT_S).sequence


def test_reads_of_any_lengths_are_called_whole() -> None:
    signals = [random_signal(10 * (1 + 61 * n % 700), seed=n) for n in range(50)]
    with working(TinyCaller()) as model:
        jobs = [submit(model, signal) for signal in signals]
        assert [sequence(job) for job in jobs] == [expected_sequence(signal) for signal in signals]


def test_several_engines_share_one_queue() -> None:
    callers = GatedCaller(), GatedCaller()
    signal = random_signal(200 + 160 * 99)
    for caller in callers:
        caller.gate.clear()
    with working(*callers) as model:
        job = submit(model, signal)
        for caller in callers:
            assert caller.waiting.wait(WAIT_S)
            caller.gate.set()
        assert sequence(job) == expected_sequence(signal)
        assert sum(callers[0].batches) + sum(callers[1].batches) == 100


def test_what_comes_goes_to_an_idle_engine_before_it_is_held_ready_by_a_busy_one() -> None:
    callers = GatedCaller(), GatedCaller()
    for caller in callers:
        caller.gate.clear()
    with working(*callers) as model:
        held = []
        for idle in (1, 0):
            held.append(submit(model, random_signal(100)))
            wait_for(lambda idle=idle: len(model._queue.idle) == idle)  # type: ignore[misc]
        assert [caller.batches for caller in callers] == [[1], [1]]
        callers[1].gate.set()
        for n in range(50):
            wait_for(lambda: len(model._queue.idle) == 1)
            signal = random_signal(100, seed=n)
            assert sequence(submit(model, signal)) == expected_sequence(signal)
        assert len(callers[0].batches) == 1
        callers[0].gate.set()
        for job in held:
            sequence(job)


def test_an_idle_engine_takes_what_is_there_and_a_busy_one_full_batches() -> None:
    caller = GatedCaller()
    caller.gate.clear()
    with working(caller) as model:
        first = submit(model, random_signal(100))
        assert caller.waiting.wait(WAIT_S)
        others = [submit(model, random_signal(100, seed=n)) for n in range(caller.batch_chunks)]
        wait_until_packed(model, caller.batch_chunks)
        caller.gate.set()
        for job in (first, *others):
            sequence(job)
    assert caller.batches == [1, caller.batch_chunks]


def test_the_urgent_displace_what_is_packed_but_not_taken() -> None:
    caller = GatedCaller()
    caller.gate.clear()
    ended: list[str] = []
    with working(caller) as model:
        first = submit(model, random_signal(100))
        assert caller.waiting.wait(WAIT_S)
        low = submit(model, random_signal(200 + 160 * 15), Priority.LOW)
        wait_until_packed(model, 16)
        high = submit(model, random_signal(200 + 160 * 15), Priority.HIGH)
        for job, name in ((low, "low"), (high, "high")):
            job.outcome.add_done_callback(lambda _, name=name: ended.append(name))  # type: ignore[misc]
        wait_for(lambda: bool(low.pending))
        caller.gate.set()
        for job in (first, low, high):
            sequence(job)
    assert ended == ["high", "low"]


def test_a_read_whose_client_has_gone_is_not_scored() -> None:
    caller = GatedCaller()
    caller.gate.clear()
    with working(caller) as model:
        first = submit(model, random_signal(100))
        assert caller.waiting.wait(WAIT_S)
        filling = submit(model, random_signal(200 + 160 * 15))
        wait_until_packed(model, 16)
        gone = submit(model, random_signal(200 + 160 * 15))
        assert gone.outcome.cancel()
        last = submit(model, random_signal(100))
        caller.gate.set()
        for job in (first, filling, last):
            sequence(job)
    assert caller.batches == [1, 16, 1]


def test_a_read_whose_client_goes_when_it_is_packed_is_not_scored() -> None:
    caller = GatedCaller()
    caller.gate.clear()
    with working(caller) as model:
        first = submit(model, random_signal(100))
        assert caller.waiting.wait(WAIT_S)
        gone = submit(model, random_signal(200 + 160 * 9))
        wait_until_packed(model, 10)
        last = submit(model, random_signal(100))
        wait_until_packed(model, 11)
        assert gone.outcome.cancel()
        caller.gate.set()
        sequence(first)
        sequence(last)
    assert caller.batches == [1, 1]


def test_a_read_at_another_rate_is_refused_and_others_go_on() -> None:
    with working(TinyCaller()) as model:
        read = read_of(random_signal(100))
        other = Read("other", read.signal, read.calibration, 5000.0)
        refused = model.submit(other, priority=Priority.NORMAL, arrived_s=0)
        with pytest.raises(ImpossibleRequestError, match="5000 Hz"):
            refused.outcome.result(WAIT_S)
        assert sequence(submit(model, read.signal)) == expected_sequence(read.signal)


class FailingCaller(TinyCaller):
    """Fails in one of its steps as often as told."""

    def __init__(self, step: str, times: int, error: Exception) -> None:
        self.step, self.times, self.error = step, times, error

    def _fail(self, step: str) -> None:
        if step == self.step and self.times:
            self.times -= 1
            raise self.error

    def chunk(self, read: Read) -> Chunks:
        self._fail("chunk")
        return super().chunk(read)

    def score(self, batch: NDArray[np.float32]) -> Any:
        self._fail("score")
        return super().score(batch)

    def wait(self, scores: Any) -> None:
        self._fail("wait")

    def decode(self, scores: Any) -> Sequence[ChunkCall]:
        self._fail("decode")
        return super().decode(scores)

    def stitch(self, chunks: Chunks, calls: Sequence[ChunkCall]) -> Basecall:
        self._fail("stitch")
        return super().stitch(chunks, calls)


@pytest.mark.parametrize("step", ["chunk", "score", "decode", "stitch"])
def test_what_fails_is_answered_so_and_the_engine_goes_on(step: str) -> None:
    signal = random_signal(500)
    with working(FailingCaller(step, 1, RuntimeError("device-side assert"))) as model:
        with pytest.raises(EngineError):
            sequence(submit(model, signal))
        assert sequence(submit(model, signal)) == expected_sequence(signal)
        assert model.healthy


def test_an_engine_that_failed_is_restarted_and_counted() -> None:
    metrics = Metrics()
    with working(FailingCaller("score", 2, RuntimeError("gone")), metrics=metrics) as model:
        for _ in range(2):
            with pytest.raises(EngineError):
                sequence(submit(model, random_signal(100)))
        sequence(submit(model, random_signal(100)))
    assert b'fiveways_engine_restarts_total{model="tiny"} 2.0' in metrics.page()


def test_an_engine_that_cannot_be_restarted_gives_up_and_is_not_healthy() -> None:
    loads: list[str] = []

    def load(device: str) -> Caller:
        loads.append(device)
        if len(loads) > 1:
            raise RuntimeError("no device")
        return FailingCaller("score", 1, RuntimeError("gone"))

    with ServedModel(load, ["0"], Metrics()) as model:
        for _ in range(3):
            with pytest.raises(EngineError):
                sequence(submit(model, random_signal(100)))
        assert not model.healthy
    assert len(loads) == 1 + engine.RESTARTS


def test_when_one_of_two_engines_gives_up_the_other_takes_its_reads() -> None:
    broken = GatedCaller()
    reloads: list[str] = []

    def load(device: str) -> Caller:
        if device == "good":
            return TinyCaller()
        if reloads:
            raise RuntimeError("no device")
        reloads.append(device)
        return FailingCaller("score", 1, RuntimeError("gone"))

    with ServedModel(load, ["bad", "good"], Metrics()) as model:
        wait_for(lambda: fails_now(model))
        wait_for(lambda: not model.healthy)
        for n in range(20):
            signal = random_signal(1000, seed=n)
            assert sequence(submit(model, signal)) == expected_sequence(signal)
    assert not broken.batches


def test_when_a_thread_of_one_of_two_engines_ends_the_other_takes_its_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with working(TinyCaller(), TinyCaller()) as model:
        broken = model._engines[0]
        monkeypatch.setattr(broken, "_wanted", None)
        for n in range(20):
            signal = random_signal(1000, seed=n)
            assert sequence(submit(model, signal)) == expected_sequence(signal)
        wait_for(lambda: broken.dead)
        assert not model.healthy
        wait_for(lambda: model._queue.idle == {model._engines[1]})


class SmallCaller(GatedCaller):
    """Has memory for four chunks at once."""

    def score(self, batch: NDArray[np.float32]) -> Any:
        scores = super().score(batch)
        if len(batch) > 4:
            raise MemoryError
        return scores


def test_out_of_memory_halves_the_batches_and_nobody_notices() -> None:
    caller = SmallCaller()
    signal = random_signal(200 + 160 * 40)
    with working(caller) as model:
        assert sequence(submit(model, signal)) == expected_sequence(signal)
        assert model.healthy
    assert max(caller.batches[-8:]) <= 4


def test_a_decoder_out_of_memory_halves_the_batches_as_well() -> None:
    signal = random_signal(200 + 160 * 40)
    with working(FailingCaller("decode", 2, MemoryError())) as model:
        assert sequence(submit(model, signal)) == expected_sequence(signal)


class LazyCaller(GatedCaller):
    """Returns from `score` at once: it is `wait` that waits for the gate, and notes how long."""

    def __init__(self) -> None:
        super().__init__()
        self.waited_s: list[float] = []

    def score(self, batch: NDArray[np.float32]) -> Any:
        self.batches.append(len(batch))
        return TinyCaller.score(self, batch)

    def wait(self, scores: Any) -> None:
        began_s = time.monotonic()
        self.waiting.set()
        assert self.gate.wait(WAIT_S)
        self.waited_s.append(time.monotonic() - began_s)


def test_a_device_that_works_by_itself_has_its_next_batch_before_it_is_done() -> None:
    caller = LazyCaller()
    caller.gate.clear()
    signals = [random_signal(100, seed=n) for n in range(2)]
    with working(caller) as model:
        began_s = time.monotonic()
        first = submit(model, signals[0])
        assert caller.waiting.wait(WAIT_S)
        second = submit(model, signals[1])
        wait_for(lambda: caller.batches == [1, 1])
        assert not first.outcome.done()
        caller.gate.set()
        assert [sequence(job) for job in (first, second)] == [expected_sequence(one) for one in signals]
        passed_s = time.monotonic() - began_s
    assert caller.waited_s[0] <= first.compute_s <= passed_s - first.decode_s


class AheadCaller(GatedCaller):
    """Of a device that works by itself on as many batches as told; decoding waits for the gate."""

    def __init__(self, in_flight: int) -> None:
        super().__init__()
        self.in_flight = in_flight

    def score(self, batch: NDArray[np.float32]) -> Any:
        self.batches.append(len(batch))
        return TinyCaller.score(self, batch)

    def decode(self, scores: Any) -> Sequence[ChunkCall]:
        self.waiting.set()
        assert self.gate.wait(WAIT_S)
        return super().decode(scores)


@pytest.mark.parametrize(("in_flight", "begun"), [(0, 2), (1, 2), (2, 3)])
def test_while_a_batch_is_decoded_a_device_has_as_many_more_as_its_caller_says(
    in_flight: int, begun: int
) -> None:
    caller = AheadCaller(in_flight)
    caller.gate.clear()
    signals = [random_signal(100, seed=n) for n in range(begun + 2)]
    with working(caller) as model:
        jobs = []
        for number, signal in enumerate(signals[:begun], 1):
            jobs.append(submit(model, signal))
            wait_for(lambda number=number: len(caller.batches) == number)
        assert caller.waiting.wait(WAIT_S)
        jobs += [submit(model, signal) for signal in signals[begun:]]
        wait_for(lambda: all(job.is_open and not job.pending for job in jobs))
        caller.gate.set()
        assert [sequence(job) for job in jobs] == [expected_sequence(signal) for signal in signals]
    # Those that came too late to be begun had time to come together.
    assert caller.batches == [1] * begun + [2]


class DyingCaller(AheadCaller):
    """Fails whatever was asked of it, once the gate is open."""

    def decode(self, scores: Any) -> Sequence[ChunkCall]:
        super().decode(scores)
        raise RuntimeError("CUDA error: the device fell off the bus")


def test_a_device_that_fails_with_several_batches_is_restarted_once() -> None:
    dying, metrics = DyingCaller(2), Metrics()
    dying.gate.clear()
    callers: list[Caller] = [dying, TinyCaller()]
    with ServedModel(lambda _device: callers.pop(0), ["0"], metrics) as model:
        jobs = []
        for number in range(1, 4):
            jobs.append(submit(model, random_signal(100)))
            wait_for(lambda number=number: len(dying.batches) == number)
        dying.gate.set()
        for job in jobs:
            with pytest.raises(EngineError):
                sequence(job)
        assert sequence(submit(model, random_signal(100))) == expected_sequence(random_signal(100))
    assert b'fiveways_engine_restarts_total{model="tiny"} 1.0' in metrics.page()


def test_what_a_device_says_when_it_is_waited_for_is_answered_and_the_engine_goes_on() -> None:
    signal = random_signal(500)
    with working(FailingCaller("wait", 1, RuntimeError("CUDA error: the launch timed out"))) as model:
        with pytest.raises(EngineError):
            sequence(submit(model, signal))
        assert sequence(submit(model, signal)) == expected_sequence(signal)


def test_devices_are_loaded_at_once() -> None:
    both = threading.Barrier(2)

    def load(device: str) -> Caller:
        both.wait(WAIT_S)
        return TinyCaller()

    with ServedModel(load, ["cuda:0", "cuda:1"], Metrics()) as model:
        assert sequence(submit(model, random_signal(500))) == expected_sequence(random_signal(500))


def test_what_is_queued_when_it_ends_fails() -> None:
    caller = GatedCaller()
    caller.gate.clear()
    with working(caller) as model:
        submit(model, random_signal(100))
        assert caller.waiting.wait(WAIT_S)
        queued = submit(model, random_signal(200 + 160 * 40))
        model.close()
        with pytest.raises(EngineError):
            sequence(queued)
        caller.gate.set()


def test_what_was_answered_is_not_kept() -> None:
    with working(TinyCaller()) as model:
        job = submit(model, random_signal(5000))
        sequence(job)
        kept = weakref.ref(job)
        del job
        wait_for(lambda: kept() is None)


def test_an_engine_that_stands_still_is_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    caller = GatedCaller()
    caller.gate.clear()
    with working(caller) as model:
        job = submit(model, random_signal(100))
        assert caller.waiting.wait(WAIT_S)
        assert model.healthy
        monkeypatch.setattr(engine, "STALL_S", 0.01)
        wait_for(lambda: not model.healthy)
        caller.gate.set()
        sequence(job)
        wait_for(lambda: model.healthy)


def fails_now(model: ServedModel) -> bool:
    try:
        sequence(submit(model, random_signal(100)))
    except EngineError:
        return True
    return False


def wait_until_packed(model: ServedModel, chunks: int) -> None:
    """Wait until the engine's open batch has so many chunks."""
    wait_for(lambda: model._engines[0]._open.rows == chunks)
