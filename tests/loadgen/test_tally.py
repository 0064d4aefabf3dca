"""What tallies and histograms promise: nothing is lost by adding them up, and quantiles are good to 1 %."""

import dataclasses
import itertools
import math

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.tally import MAX_REASONS, OTHER_REASONS, STAGES, Histogram, Tally, merged

latencies = st.lists(st.floats(min_value=0.0, max_value=3.6e6), max_size=50)


def histogram(values: list[float]) -> Histogram:
    made = Histogram()
    for value in values:
        made.add(value)
    return made


def answered(tally: Tally, *, bases: int = 10, client_ms: float = 5.0, total_ms: float = 3.0) -> None:
    tally.add_answer(
        bases=bases,
        samples=bases * 9,
        request_bytes=bases * 18,
        response_bytes=bases * 2,
        client_ms=client_ms,
        stage_ms={"receive": 0.5, "queue": 1.0, "compute": 1.0, "decode": 0.5, "total": total_ms},
    )


@given(latencies, latencies)
def test_histograms_of_parts_add_up_to_the_histogram_of_the_whole(
    some: list[float], more: list[float]
) -> None:
    parts = histogram(some)
    parts.merge(histogram(more))
    assert parts == histogram(some + more)
    assert len(parts) == len(some) + len(more)


@pytest.mark.parametrize("q", [0.01, 0.5, 0.9, 0.99, 1.0])
def test_quantiles_are_within_one_percent_or_a_tenth_of_a_millisecond(q: float) -> None:
    values = np.random.default_rng(1).lognormal(mean=2.0, sigma=2.0, size=5001)
    exact = float(np.quantile(values, q, method="inverted_cdf"))
    assert histogram(values.tolist()).quantile_ms(q) == pytest.approx(exact, rel=0.006, abs=0.051)


def test_buckets_are_a_tenth_of_a_millisecond_wide_below_ten_and_one_percent_above() -> None:
    assert histogram([0.31, 0.39]).counts == {3: 2}
    assert histogram([0.39, 0.41]).counts == {3: 1, 4: 1}
    assert len(histogram([100.0, 100.2]).counts) == 1
    assert len(histogram([100.0, 102.0]).counts) == 2


def test_a_histogram_without_latencies_has_no_quantile() -> None:
    assert Histogram().quantile_ms(0.5) is None


def test_every_counter_of_merged_tallies_is_the_sum() -> None:
    first, second = Tally(), Tally()
    answered(first, bases=7)
    answered(first, bases=8)
    first.add_failure("503 busy", rejected=True)
    answered(second, bases=9)
    second.add_failure("cut off")

    both = merged([first, second])

    assert (both.requests, both.failures, both.rejected, both.answers) == (5, 2, 1, 3)
    assert (both.bases, both.samples, both.request_bytes, both.response_bytes) == (24, 216, 432, 48)
    assert both.client_ms == 15.0
    assert both.stage_ms == {"receive": 1.5, "queue": 3.0, "compute": 3.0, "decode": 1.5, "total": 9.0}
    assert both.reasons == {"503 busy": 1, "cut off": 1}
    assert len(both.latency) == 3
    assert first.bases == 15, "merging leaves its terms alone"


def test_the_network_has_what_the_service_does_not_account_for() -> None:
    tally = Tally()
    answered(tally, client_ms=5.0, total_ms=3.0)
    answered(tally, client_ms=9.0, total_ms=4.0)
    assert tally.network_ms == 7.0


def test_failures_have_no_latency_and_no_bases() -> None:
    tally = Tally()
    tally.add_failure("cut off")
    assert (len(tally.latency), tally.bases, tally.client_ms) == (0, 0, 0.0)


def test_the_number_of_distinct_reasons_is_bounded() -> None:
    tally = Tally()
    for number in range(100):
        tally.add_failure(f"failure {number}")
    assert len(tally.reasons) == MAX_REASONS + 1
    assert tally.reasons[OTHER_REASONS] == 100 - MAX_REASONS
    assert sum(tally.reasons.values()) == tally.failures


def test_a_tally_survives_json() -> None:
    tally = Tally()
    for client_ms in itertools.chain(range(1, 20), [1500.0]):
        answered(tally, client_ms=float(client_ms))
    tally.add_failure("cut off")
    text = orjson.dumps(dataclasses.asdict(tally), option=orjson.OPT_NON_STR_KEYS)
    assert Tally.from_plain(orjson.loads(text)) == tally


def test_stages_that_are_not_named_count_as_nothing() -> None:
    tally = Tally()
    tally.add_answer(
        bases=1, samples=9, request_bytes=18, response_bytes=2, client_ms=1.0, stage_ms={"total": 0.5}
    )
    assert tally.stage_ms == {**dict.fromkeys(STAGES, 0.0), "total": 0.5}


def test_in_an_open_loop_latency_is_service_time_and_lag() -> None:
    tally = Tally()
    for lag_ms in (0.0, 40.0):
        tally.add_answer(
            bases=1, samples=9, request_bytes=18, response_bytes=2, client_ms=60.0, stage_ms={}, lag_ms=lag_ms
        )
    tally.add_failure("cut off", lag_ms=500.0)
    assert tally.latency.quantile_ms(1.0) == pytest.approx(100.0, rel=0.01)
    assert tally.service.quantile_ms(1.0) == pytest.approx(60.0, rel=0.01)
    assert tally.lag.quantile_ms(1.0) == pytest.approx(500.0, rel=0.01)
    both = merged([tally, tally])
    assert (len(both.latency), len(both.service), len(both.lag)) == (4, 4, 6)


def test_failed_requests_took_for_ever() -> None:
    tally = Tally()
    assert tally.request_quantile_ms(0.99) is None
    for client_ms in range(1, 100):
        answered(tally, client_ms=float(client_ms))
    tally.add_failure("503 busy", rejected=True)
    assert tally.request_quantile_ms(0.5) == pytest.approx(50.0, rel=0.01)
    assert tally.request_quantile_ms(0.99) == pytest.approx(99.0, rel=0.01)
    tally.add_failure("503 busy", rejected=True)
    assert tally.request_quantile_ms(0.99) == math.inf
