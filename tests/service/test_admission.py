"""Admission: what is taken on, what is refused, and when those refused are told to come again."""

from contextlib import ExitStack
from typing import Any

import pytest

from service.admission import REQUEST_SAMPLES, SHARES, Admission
from service.errors import BacklogFullError, ClientBusyError, DeadlineError
from service.job import Priority
from service.settings import Settings

RATE = 1000.0
"""Samples per second."""


def admission(**settings: Any) -> Admission:
    return Admission(Settings(model="m", **settings))


def admit(to: Admission, samples: int, **options: Any) -> Any:
    chosen = {"model": "m", "client": "c", "priority": Priority.NORMAL, "samples_per_s": RATE} | options
    return to.admit(samples=samples, **chosen)


def test_what_is_admitted_counts_until_it_is_answered() -> None:
    to = admission()
    with admit(to, 5000), admit(to, 7000):
        assert to.backlog_samples("m") == 12_000
    assert to.backlog_samples("m") == 0


def test_it_counts_by_model_and_by_urgency() -> None:
    to = admission()
    with admit(to, 10, priority=Priority.HIGH), admit(to, 200), admit(to, 3000, priority=Priority.LOW):
        assert [to.backlog_samples("m", priority) for priority in Priority] == [10, 210, 3210]
        assert to.backlog_samples("other") == 0


def test_an_idle_service_takes_a_read_longer_than_the_longest_wait() -> None:
    with admit(admission(max_backlog_s=1), 1_000_000):
        pass


def test_who_would_wait_too_long_is_told_when_the_wait_is_short_enough() -> None:
    to = admission(max_backlog_s=10)
    with admit(to, 25_000), pytest.raises(BacklogFullError) as refused, admit(to, 1):
        pass
    assert refused.value.headers == [("retry-after", "15")]


def test_the_more_urgent_do_not_wait_for_the_less_urgent() -> None:
    to = admission(max_backlog_s=10)
    with admit(to, 25_000), admit(to, 1, priority=Priority.HIGH):
        pass


def test_what_cannot_be_done_in_time_is_refused_at_once() -> None:
    to = admission()
    with admit(to, 5000):
        with pytest.raises(DeadlineError) as refused, admit(to, 2000, within_s=6.9):
            pass
        assert refused.value.headers == [("retry-after", "1")]
        with admit(to, 2000, within_s=7.1):
            pass


def test_the_memory_for_signal_is_bounded_and_some_is_left_for_the_urgent() -> None:
    to = admission(max_read_samples=100_000, max_signal_mib=4, max_backlog_s=1e9)
    held: dict[Priority, int] = dict.fromkeys(Priority, 0)
    with ExitStack() as stack:
        for priority in reversed(Priority):
            with pytest.raises(BacklogFullError, match="4 MiB"):
                while True:
                    stack.enter_context(admit(to, 10_000, priority=priority))
                    held[priority] += 10_000 + REQUEST_SAMPLES
        limit = 4 * 2**20 // 8
        for priority in Priority:
            total = sum(samples for one, samples in held.items() if one >= priority)
            assert (
                SHARES[priority] * limit - 2 * (10_000 + REQUEST_SAMPLES) < total <= SHARES[priority] * limit
            )


def test_what_is_refused_leaves_nothing_behind() -> None:
    to = admission(max_read_samples=100_000, max_signal_mib=2)
    for _ in range(3):
        with pytest.raises(BacklogFullError), admit(to, 10_000_000):
            pass
    assert to.backlog_samples("m") == 0
    with admit(to, 100_000):
        pass


def test_a_body_of_unknown_length_is_counted_as_it_grows() -> None:
    to = admission(max_read_samples=100_000, max_signal_mib=2)
    with admit(to, 10) as ticket:
        to.resize(ticket, 50_000)
        assert to.backlog_samples("m") == 50_000
        with pytest.raises(BacklogFullError):
            to.resize(ticket, 10_000_000)
        to.resize(ticket, 20)
        assert to.backlog_samples("m") == 20
    assert to.backlog_samples("m") == 0


def test_one_client_cannot_have_more_in_flight_than_one_may() -> None:
    to = admission(max_per_client=2)
    with admit(to, 1000), admit(to, 2000):
        with pytest.raises(ClientBusyError) as refused, admit(to, 1):
            pass
        assert refused.value.headers == [("retry-after", "3")]
        with admit(to, 1, client="another"):
            pass
    with admit(to, 1):
        pass
