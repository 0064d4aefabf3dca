"""The packing rule and the order of turns, with plain values."""

import numpy as np
import pytest
from live_service import TinyCaller, random_signal, read_of

from models.caller import ChunkCall
from service.batch import AGEING_S, LENGTH_S, LONG_S, Batch, rank
from service.job import Job, Priority
from service.queue import ReadQueue
from service.settings import Settings

HIGH, NORMAL, LOW = Priority


def job(chunks: int, priority: Priority = NORMAL, read_id: str = "read") -> Job:
    """A job whose read has so many chunks."""
    samples = 200 + 160 * (chunks - 1)
    made = Job(read_of(random_signal(samples), read_id), cost_samples=samples, priority=priority, arrived_s=0)
    made.open(TinyCaller())
    made.rank = rank(0, 0, priority)
    assert sum(map(len, made.pending)) == chunks
    return made


def packed(batch: Batch) -> list[tuple[str, list[int]]]:
    return [(part.job.read.read_id, list(part.rows)) for part in batch.slices]


def test_the_more_urgent_goes_first_whatever_its_length() -> None:
    assert rank(0, 1e9, HIGH) <= rank(0, 0, NORMAL) and rank(0, 1e9, NORMAL) <= rank(0, 0, LOW)


def test_the_shorter_goes_first_among_equals() -> None:
    assert rank(1, 0.1, NORMAL) < rank(0, LONG_S, NORMAL)


def test_who_came_first_goes_first_among_equals_of_one_length() -> None:
    assert rank(0, 1, NORMAL) < rank(0.001, 1, NORMAL)


def test_nobody_waits_behind_those_who_come_much_later() -> None:
    longest_wait_s = 2 * AGEING_S + LENGTH_S
    assert rank(0, 1e9, LOW) <= rank(longest_wait_s, 0, HIGH)


def test_who_waits_no_longer_than_was_promised_does_not_go_before_the_more_urgent() -> None:
    promised_s = Settings().max_backlog_s
    assert rank(promised_s, 0, HIGH) < rank(0, 0, NORMAL) and rank(promised_s, 0, NORMAL) < rank(0, 0, LOW)
    assert rank(promised_s, 1e9, HIGH) < rank(0, 0, NORMAL)


def test_a_batch_is_filled_with_chunks_of_any_reads() -> None:
    batch = Batch(8)
    for one in (job(3, read_id="a"), job(2, read_id="b"), job(9, read_id="c")):
        assert batch.add(one) == []
    assert packed(batch) == [("a", [0, 1, 2]), ("b", [0, 1]), ("c", [0, 1, 2])]
    assert batch.room(job(1)) == 0


def test_what_does_not_fit_stays_pending() -> None:
    long = job(20)
    batch, following = Batch(8), Batch(8)
    batch.add(long)
    assert list(long.pending) == [range(8, 20)]
    following.add(long)
    assert packed(following) == [("read", list(range(8, 16)))]
    assert long.rest_samples == long.cost_samples * 4 / 20


def test_the_less_urgent_give_way_while_the_batch_is_open() -> None:
    low, normal, high = job(3, LOW, "low"), job(3, NORMAL, "normal"), job(4, HIGH, "high")
    batch = Batch(6)
    batch.add(low)
    batch.add(normal)
    assert batch.room(high) == 6
    assert batch.add(high) == [low, normal]
    assert packed(batch) == [("high", [0, 1, 2, 3])]
    assert (list(low.pending), list(normal.pending)) == ([range(3)], [range(3)])


def test_equals_do_not_give_way() -> None:
    batch = Batch(3)
    batch.add(job(3))
    late = job(1)
    assert (batch.room(late), batch.add(late), list(late.pending)) == (0, [], [range(1)])


def test_nobody_gives_way_whose_turn_it_is() -> None:
    low, high = job(3, LOW, "low"), job(3, HIGH, "high")
    batch = Batch(3)
    batch.add(low)
    high.rank = low.rank + 1
    assert (batch.room(high), batch.add(high)) == (0, [])
    assert packed(batch) == [("low", [0, 1, 2])]


@pytest.mark.parametrize("urgent", [HIGH, NORMAL])
def test_low_is_called_in_the_end_however_much_of_the_urgent_comes(urgent: Priority) -> None:
    queue, low = ReadQueue(lambda: 1000.0), job(2, LOW, "low")
    queue.push(low)
    taken: list[str] = []
    second = 0
    while "low" not in taken:
        second += 1
        assert second <= 2 * AGEING_S + LENGTH_S
        # Every second as much comes as a batch has room for: enough to displace all that gives way.
        newcomer = job(4, urgent, "urgent")
        newcomer.arrived_s = second
        queue.push(newcomer)
        batch = Batch(4)
        while (packing := queue.pop(lambda _: True)) and batch.room(packing):
            for waiting in [*batch.add(packing), packing]:
                if waiting.pending:
                    queue.push(waiting)
        assert packing
        queue.push(packing)
        taken = [read_id for read_id, _ in packed(batch)]
    assert second > AGEING_S * (LOW - urgent) - LENGTH_S


def test_the_chunks_of_those_who_have_gone_are_dropped_when_a_batch_is_taken() -> None:
    gone, waiting = job(3, read_id="gone"), job(2, read_id="waiting")
    batch = Batch(8)
    batch.add(gone)
    batch.add(waiting)
    gone.outcome.cancel()
    batch.drop_finished()
    assert packed(batch) == [("waiting", [0, 1])]


def test_chunks_that_are_given_back_are_scored_later_and_once() -> None:
    one = job(10)
    batch = Batch(4)
    batch.add(one)
    assert batch.give_back() == [one]
    rows: list[int] = []
    while one.pending:
        following = Batch(4)
        following.add(one)
        rows += [row for part in following.slices for row in part.rows]
    assert sorted(rows) == list(range(10))


def test_the_signal_and_the_calls_of_a_batch_are_in_the_order_of_its_rows() -> None:
    a, b = job(2, read_id="a"), job(3, read_id="b")
    batch = Batch(4)
    batch.add(a)
    batch.add(b)
    assert np.array_equal(batch.signal(), np.concatenate([a.chunks.samples, b.chunks.samples[:2]]))
    calls: list[ChunkCall] = list(TinyCaller().decode(TinyCaller().score(batch.signal())))
    assert [(part.job, share) for part, share in batch.shares(calls)] == [(a, calls[:2]), (b, calls[2:])]


def test_a_batch_costs_what_its_share_of_its_reads_costs() -> None:
    one = job(10)
    batch = Batch(5)
    batch.add(one)
    assert batch.samples == one.cost_samples / 2
