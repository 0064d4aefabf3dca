"""Others' repeats are compared as they were measured: in turns, or as two samples; and chance is counted."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_ind

from loadgen.errors import ResultsError
from loadgen.reanalysis import Reanalysis, in_turns, reanalyse
from loadgen.reanalysis_report import chance_sentence
from loadgen.repeats import Repeat


def a_path(
    name: str, values: Sequence[float], orders: Sequence[int | None], system: str = "a"
) -> list[Repeat]:
    return [
        Repeat(system, name, number, value, order)
        for number, (value, order) in enumerate(zip(values, orders, strict=True), start=1)
    ]


UNKNOWN = [None] * 4
HOST, SERVICE = [10.0, 12.0, 9.0, 11.0], [9.0, 10.8, 8.1, 9.91]


def read(repeats: Sequence[Repeat]) -> Reanalysis:
    return reanalyse(repeats, baseline="", delta=0.01)


def test_repeats_in_turns_are_compared_one_by_one_so_that_drift_cancels() -> None:
    (reading,) = read(a_path("host", HOST, [1, 4, 5, 8]) + a_path("svc", SERVICE, [2, 3, 6, 7])).readings
    assert reading.design == "paired"
    assert (reading.verdict.word, reading.verdict.rounds) == ("lower", 4)
    assert reading.verdict.ratio == pytest.approx(0.9, abs=0.002)
    assert reading.words.startswith("lower by 10.0 % [9.")


@pytest.mark.parametrize(
    "orders", [([1, 2, 3, 4], [5, 6, 7, 8]), (UNKNOWN, UNKNOWN), ([1, 3, 5, 7], [2, 6, 4, 8])]
)
def test_other_repeats_are_two_samples_and_a_gate_says_so(
    orders: tuple[Sequence[int | None], Sequence[int | None]],
) -> None:
    found = read(a_path("host", HOST, orders[0]) + a_path("svc", SERVICE, orders[1]))
    (reading,) = found.readings
    assert reading.design == "unpaired"
    welch = ttest_ind(np.log(SERVICE), np.log(HOST), equal_var=False).confidence_interval(0.95)
    assert (reading.verdict.low, reading.verdict.high) == pytest.approx(
        (math.exp(welch.low), math.exp(welch.high))
    )
    assert reading.verdict.word == "unresolved"
    assert [gate.name for gate in found.gates if not gate.held] == ["a: measured in turns", "A/A control"]


def test_a_repeat_that_only_one_path_has_does_not_count_in_turns() -> None:
    host = a_path("host", HOST, [1, 3, 5, 7])
    assert in_turns(a_path("svc", SERVICE[:3], [2, 4, 6]), host)
    (reading,) = read(host + a_path("svc", SERVICE[:3], [2, 4, 6])).readings
    assert (reading.verdict.rounds, reading.baseline_repeats) == (3, 3)


def test_every_path_is_held_against_the_baseline_of_its_own_system() -> None:
    fast = [replace(repeat, system="b", value=100 * repeat.value) for repeat in a_path("host", HOST, UNKNOWN)]
    slow = a_path("host", HOST, UNKNOWN)
    both = [
        *slow,
        *a_path("svc", HOST, UNKNOWN),
        *fast,
        *a_path("svc", [1000, 1200, 900, 1100], UNKNOWN, "b"),
    ]
    assert [(r.system, r.verdict.ratio) for r in read(both).readings] == [
        ("a", pytest.approx(1.0)),
        ("b", pytest.approx(1.0)),
    ]


def test_many_comparisons_share_the_error_and_make_intervals_wider() -> None:
    few = a_path("host", HOST, UNKNOWN) + a_path("svc", SERVICE, UNKNOWN)
    many = [*few, *(repeat for n in range(9) for repeat in a_path(f"svc-{n}", SERVICE, UNKNOWN))]
    one, ten = read(few).readings[0], read(many).readings[0]
    assert ten.verdict.low < one.verdict.low
    assert (ten.alone, one.alone) == (one.verdict, one.verdict)


def test_where_nothing_differs_intervals_taken_alone_leave_out_1_as_often_as_chance_says() -> None:
    rng = np.random.default_rng(5)
    repeats = [
        Repeat(f"system-{system}", path, number, float(value), None)
        for system in range(400)
        for path in ("host", "svc")
        for number, value in enumerate(rng.lognormal(0.0, 0.05, 3))
    ]
    found = read(repeats)
    assert found.differ_by_chance == pytest.approx(20)
    # Welch's test is a little careful with three repeats: 0.05 at the most.
    assert 6 <= found.alone_differ <= 30
    assert sum(reading.verdict.word != "unresolved" for reading in found.readings) <= 1
    assert chance_sentence(found).startswith(f"Of 400 comparisons {found.alone_differ} have a 95% interval")


def test_a_path_measured_once_has_a_ratio_and_no_verdict() -> None:
    found = read(a_path("host", HOST, UNKNOWN) + a_path("svc", [9.0], [None]))
    (reading,) = found.readings
    assert (reading.verdict.word, reading.verdict.high) == ("unresolved", math.inf)
    assert reading.words == "not resolved; fewer than two repeats count"
    assert found.comparable == 0
    assert "nothing can be said" in chance_sentence(found)


def test_repeats_that_agree_to_the_last_digit_have_a_ratio_without_width() -> None:
    (reading,) = read(a_path("host", [10.0] * 4, UNKNOWN) + a_path("svc", [5.0] * 4, UNKNOWN)).readings
    assert (reading.verdict.low, reading.verdict.high) == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize(
    ("repeats", "baseline", "complaint"),
    [
        (a_path("host", HOST, UNKNOWN), "", "no path but host"),
        (
            a_path("a", HOST, UNKNOWN) + a_path("b", HOST, UNKNOWN),
            "host",
            "no path is called host; there are a, b",
        ),
        (
            [*a_path("host", HOST, UNKNOWN), *a_path("svc", HOST, UNKNOWN, "b")],
            "",
            "b has no path host to hold its others against; it has svc",
        ),
    ],
)
def test_without_a_baseline_it_is_said_what_there_is(
    repeats: Sequence[Repeat], baseline: str, complaint: str
) -> None:
    with pytest.raises(ResultsError) as caught:
        reanalyse(repeats, baseline=baseline, delta=0.01)
    assert complaint in str(caught.value)
