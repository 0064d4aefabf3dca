import json
import signal

import pytest

from benchmarks import measure
from benchmarks.measure import Record, Section, Timing, at_least, at_most, markdown, percentile, spread


def test_every_round_runs_every_arm_once_in_an_order_that_changes():
    ran: list[str] = []
    arms = {name: lambda name=name: ran.append(name) or len(ran) for name in "abcd"}
    found = measure.interleave(arms, 10, seed=3)
    rounds = [tuple(ran[at : at + 4]) for at in range(0, 40, 4)]
    assert all(sorted(one) == list("abcd") for one in rounds)
    assert len(set(rounds)) > 1
    assert {name: len(values) for name, values in found.items()} == dict.fromkeys("abcd", 10)


def test_the_same_seed_gives_the_same_order():
    orders = []
    for _ in range(2):
        ran: list[str] = []
        measure.interleave({name: lambda name=name, ran=ran: ran.append(name) for name in "abcde"}, 3, seed=7)
        orders.append(ran)
    assert orders[0] == orders[1]


def test_a_spread_is_median_least_greatest_and_count():
    assert spread([3.0, 1.0, 2.0, 10.0]) == measure.Spread(2.5, 1.0, 10.0, 4)


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (50, 50), (99, 99), (100, 100)])
def test_a_percentile_is_the_nearest_rank(percent: float, value: float):
    assert percentile(list(range(100, 0, -1)), percent) == value


def test_work_is_repeated_until_its_time_is_over_and_all_of_it_is_counted():
    done: list[float] = []
    timing = measure.timed(lambda: done.append(3.0) or 3.0, 0.01)
    assert timing.amount == 3.0 * len(done)
    assert timing.wall_s >= 0.01
    once = measure.timed(lambda: 5.0, 0.0)
    assert once.amount == 5.0


def test_rates_are_amounts_over_their_times():
    timing = Timing(12.0, wall_s=2.0, cpu_s=3.0)
    assert (timing.per_s, timing.per_cpu_s) == (6.0, 4.0)


def test_aims_are_met_or_not_and_neither_where_nothing_was_measured():
    assert [at_least("x", value, 4).met for value in (5.0, 4.0, 3.9, None)] == [True, True, False, None]
    assert [at_most("x", value, 2).met for value in (1.0, 2.0, 2.1, None)] == [True, True, False, None]


def test_what_was_not_measured_is_blank_and_numbers_are_rounded():
    section = Section("Rates", ("what", "rate"), (("a", 1234567.8), ("b", None), ("c", 0.01234)), "Note.")
    assert markdown(section).splitlines() == [
        *("### Rates", "", "| what | rate |", "|---|---:|"),
        *("| a | 1,234,568 |", "| b |  |", "| c | 0.0123 |", "", "Note."),
    ]


def test_the_record_is_the_last_line_of_stdout_and_tables_are_not_on_it(capsys):
    record = Record("made up", {"quick": True}, {"cores": 2})
    record.add(Section("Rates", ("what", "rate"), (("a", 1.0),)))
    record.aims.append(at_least("rate", 1.0, 0.5))
    record.finish()
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    found = json.loads(out)
    assert found["sections"][0]["rows"] == [["a", 1.0]]
    assert found["aims"] == [{"name": "rate", "value": 1.0, "aim": ">= 0.5", "met": True}]


def test_what_must_end_in_order_is_not_interrupted_and_afterwards_all_is_as_before():
    before = signal.getsignal(signal.SIGINT)
    with measure.uninterrupted():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
