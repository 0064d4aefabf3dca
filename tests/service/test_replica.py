"""How much a replica is sent, and when it is left alone: plain values, no clock."""

import pytest

from service.replica import (
    FIRST_LIMIT,
    FIRST_PAUSE_S,
    JITTER,
    LONGEST_PAUSE_S,
    LONGEST_RETRY_AFTER_S,
    MOST_IN_FLIGHT,
    QUEUE_GOAL_S,
    Replica,
)


def round_of(replica: Replica, queue_s: float = 0.0) -> None:
    """Use the limit up, and have everything answered."""
    while replica.takes(1e9):
        replica.sent()
    for _ in range(replica.in_flight):
        replica.answered(queue_s)
        while replica.takes(1e9):
            replica.sent()
    while replica.in_flight:
        replica.ended()


def refuse(
    replica: Replica, now_s: float = 0.0, retry_after_s: float | None = 1.0, chance: float = 0
) -> None:
    replica.sent()
    replica.refused(now_s, sent_s=now_s, retry_after_s=retry_after_s, chance=chance)


def test_no_more_are_in_flight_than_its_limit() -> None:
    replica = Replica("a")
    while replica.takes(0):
        replica.sent()
    assert replica.in_flight == FIRST_LIMIT
    replica.ended()
    assert replica.takes(0)


def test_the_limit_doubles_with_every_round_until_the_first_refusal_and_then_grows_by_one() -> None:
    replica = Replica("a")
    round_of(replica)
    assert replica.limit >= 2 * FIRST_LIMIT
    refuse(replica)
    halved = replica.limit
    round_of(replica)
    assert halved < replica.limit <= halved + 1.5


def test_a_refusal_halves_it_once_for_all_that_were_in_flight_together() -> None:
    replica = Replica("a", limit=64)
    for _ in range(10):
        replica.sent()
    for _ in range(10):
        replica.refused(5.0, sent_s=1.0, retry_after_s=1, chance=0)
    assert replica.limit == 32
    replica.sent()
    replica.refused(7.0, sent_s=6.0, retry_after_s=1, chance=0)
    assert replica.limit == 16


def test_it_is_never_less_than_one_nor_more_than_may_be() -> None:
    replica = Replica("a")
    for second in range(20):
        refuse(replica, float(second))
    assert replica.limit == 1
    fast = Replica("b", limit=MOST_IN_FLIGHT - 1)
    for _ in range(3):
        round_of(fast)
    assert fast.limit == MOST_IN_FLIGHT


def test_it_does_not_grow_unused_nor_where_requests_queue_long_already() -> None:
    unused, queueing = Replica("a"), Replica("b")
    for _ in range(100):
        unused.sent()
        unused.answered(0.0)
    round_of(queueing, QUEUE_GOAL_S)
    assert (unused.limit, queueing.limit) == (FIRST_LIMIT, FIRST_LIMIT)


def test_after_a_refusal_it_is_left_alone_for_as_long_as_it_said_and_a_little_longer_by_chance() -> None:
    for chance, until_s in ((0.0, 110.0), (1.0, 100 + 10 * (1 + JITTER))):
        replica = Replica("a")
        refuse(replica, 100.0, retry_after_s=10, chance=chance)
        assert not replica.takes(until_s - 0.001) and replica.takes(until_s)


def test_it_is_left_alone_for_no_longer_than_is_sensible_and_not_for_no_time_at_all() -> None:
    for said_s, pause_s in ((86400.0, LONGEST_RETRY_AFTER_S), (0.0, FIRST_PAUSE_S)):
        replica = Replica("a")
        refuse(replica, 0.0, retry_after_s=said_s)
        assert replica.closed_until_s == pause_s


def test_where_it_does_not_say_when_pauses_grow_until_it_answers() -> None:
    replica = Replica("a")
    pauses = []
    for _ in range(8):
        refuse(replica, 0.0, retry_after_s=None)
        pauses.append(replica.closed_until_s)
    assert pauses == [min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**n) for n in range(8)]
    replica.sent()
    replica.answered(0.0)
    refuse(replica, 100.0, retry_after_s=None)
    assert replica.closed_until_s == 100 + FIRST_PAUSE_S


def test_a_lost_one_is_sent_nothing_until_a_probe_finds_it_and_probes_become_rarer() -> None:
    replica = Replica("a", limit=100)
    replica.sent()
    replica.lost()
    assert not replica.takes(1e9)
    waits_s = [replica.next_probe_s(chance=0) for _ in range(10)]
    assert waits_s[0] == 0 and waits_s[1:] == sorted(waits_s[1:]) and waits_s[-1] == LONGEST_PAUSE_S
    replica.found()
    assert replica.takes(0) and replica.limit == FIRST_LIMIT


def test_its_load_is_what_it_has_of_what_it_may_have() -> None:
    replica = Replica("a", limit=8)
    replica.sent()
    assert replica.load == pytest.approx(1 / 8)
