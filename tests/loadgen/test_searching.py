"""What a search promises when it is played: trials that do not agree are repeated, and its words are true."""

from dataclasses import dataclass, field, replace

import pytest
from measured import HOST, an_observation

from loadgen.observation import Observation
from loadgen.plan import Block
from loadgen.searching import LEAST_REQUESTS, MOST_ATTEMPTS, find_concurrency, find_peak
from loadgen.tally import Tally
from loadgen.window import Window, merged_windows


@dataclass
class Service:
    """Answers `capacity` reads/s within 50 ms, and takes a second beyond; `unsteady` trials disagree
    first."""

    capacity: float
    unsteady: int = 0
    played: list[tuple[float, int, float | None]] = field(default_factory=list)

    def __call__(self, window_s: float, *, users: int, arrival_rate: float | None) -> Observation:
        self.played.append((window_s, users, arrival_rate))
        offered = arrival_rate if arrival_rate is not None else 10.0 * users
        latency_ms = 50.0 if offered <= self.capacity else 1000.0
        factors = (1.0, 1.0, 1.0) if self.unsteady <= 0 else (1.0, 1.5, 2.0)
        self.unsteady -= 1
        windows = tuple(self._window(min(offered, self.capacity), window_s, latency_ms * f) for f in factors)
        whole = merged_windows(windows)
        return replace(
            an_observation(Block(0, 0, HOST, "model", 0.0)),
            users=users,
            arrival_rate=arrival_rate,
            window_s=3 * window_s,
            window=whole.tally,
            total=whole.tally,
            windows=windows,
            spread_bases=whole.spread_bases,
            spread_samples=whole.spread_samples,
        )

    def _window(self, rate: float, window_s: float, latency_ms: float) -> Window:
        tally = Tally()
        for _ in range(round(rate * window_s)):
            tally.add_answer(
                bases=100,
                samples=1000,
                request_bytes=2000,
                response_bytes=200,
                client_ms=latency_ms,
                stage_ms={},
                lag_ms=0.0,
            )
        return Window(tally, tally.bases, tally.samples)


def test_the_peak_is_told_with_what_was_too_much() -> None:
    found = find_peak(
        Service(40.0), users=2, first_rate=8.0, slo_p99_ms=200.0, most_lag_ms=20.0, window_s=5.0
    )
    assert found.found
    assert found.document["peak"]["reads_per_s"] == pytest.approx(40.0, rel=0.06)
    assert found.document["peak"]["bases_per_s"] == pytest.approx(4000.0, rel=0.06)
    assert found.words.startswith("peak: 3") or found.words.startswith("peak: 40")
    assert ": missed, p99 99" in found.words


def test_a_window_has_enough_requests_for_a_99th_percentile() -> None:
    service = Service(3.0)
    find_peak(service, users=1, first_rate=2.0, slo_p99_ms=200.0, most_lag_ms=20.0, window_s=5.0)
    requests = [window_s * (rate or 0.0) for window_s, _, rate in service.played]
    assert min(requests) == pytest.approx(LEAST_REQUESTS)


def test_a_trial_that_does_not_agree_is_repeated_with_longer_windows() -> None:
    service = Service(40.0, unsteady=1)
    find_peak(service, users=1, first_rate=20.0, slo_p99_ms=200.0, most_lag_ms=20.0, window_s=5.0)
    assert [window_s for window_s, _, rate in service.played if rate == 20.0] == [5.0, 10.0]


def test_a_trial_that_never_agrees_is_given_up() -> None:
    service = Service(1000.0, unsteady=1000)
    found = find_peak(service, users=1, first_rate=20.0, slo_p99_ms=200.0, most_lag_ms=20.0, window_s=1e-9)
    assert not found.found
    assert [rate for _, _, rate in service.played].count(20.0) == MOST_ATTEMPTS
    assert found.words.startswith("no rate meets a p99 of 200 ms; the last tried: ")
    assert found.document["peak"] is None


def test_the_concurrency_is_told() -> None:
    found = find_concurrency(Service(80.0), most_users=64, window_s=5.0)
    assert found.document["concurrency"]["users"] == 8
    assert found.words == "concurrency: 8 users, 8,000 bases/s; more users bring no more"


def test_a_concurrency_that_is_all_there_is_may_not_be_the_last() -> None:
    found = find_concurrency(Service(1000.0), most_users=4, window_s=5.0)
    assert found.words.startswith("concurrency: 4 users")
    assert found.words.endswith("more users may bring more")
