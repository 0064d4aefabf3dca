"""What came back, counted: integers, sums, and a latency histogram, all of which merge by addition.

The sum of the tallies of any number of users, workers or intervals is the tally of all their requests
together, exactly for every counter. Knows neither clocks nor sockets.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

STAGES = ("receive", "queue", "compute", "decode", "total")
"""What Server-Timing says about each answer, in ms; `total` spans the others."""

MAX_REASONS = 16
"""Distinct reasons of failure kept by a tally; more are counted under OTHER_REASONS."""
OTHER_REASONS = "other reasons"

_FINE_MS = 10.0
_FINE_BUCKETS_PER_MS = 10
_FINE_BUCKETS = int(_FINE_MS * _FINE_BUCKETS_PER_MS)
_LOG_GROWTH = math.log(1.01)


@dataclass(slots=True)
class Histogram:
    """Latencies in buckets 0.1 ms wide up to 10 ms, and 1 % wide above: so exact are the quantiles."""

    counts: dict[int, int] = field(default_factory=dict)
    """How many latencies fell into each bucket; empty ones are absent."""

    def add(self, latency_ms: float) -> None:
        """Count one latency."""
        bucket = _bucket(latency_ms)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1

    def merge(self, other: Self) -> None:
        """Count what `other` counted, too."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count

    def __len__(self) -> int:
        return sum(self.counts.values())

    def quantile_ms(self, q: float) -> float | None:
        """Return the middle of the bucket that holds the `q` quantile (nearest rank); None when empty."""
        return self.ranked_ms(max(1, math.ceil(q * len(self))))

    def ranked_ms(self, rank: int) -> float | None:
        """Return the middle of the bucket that holds the `rank`th smallest, from 1; None beyond the last."""
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= rank:
                return (_lower_edge_ms(bucket) + _lower_edge_ms(bucket + 1)) / 2
        return None


def _bucket(latency_ms: float) -> int:
    if latency_ms < _FINE_MS:
        return max(0, int(latency_ms * _FINE_BUCKETS_PER_MS))
    return _FINE_BUCKETS + int(math.log(latency_ms / _FINE_MS) / _LOG_GROWTH)


def _lower_edge_ms(bucket: int) -> float:
    if bucket < _FINE_BUCKETS:
        return bucket / _FINE_BUCKETS_PER_MS
    return _FINE_MS * math.exp((bucket - _FINE_BUCKETS) * _LOG_GROWTH)


@dataclass(slots=True)
class Tally:
    """Counts of finished requests. Everything but `requests`, `failures`, `rejected` and `reasons` is of
    the right answers alone."""

    requests: int = 0
    """Requests that ended, rightly or not."""
    failures: int = 0
    """Of these, the ones without a right answer."""
    rejected: int = 0
    """Of the failures, the ones the service turned away with 503."""
    bases: int = 0
    samples: int = 0
    request_bytes: int = 0
    """Bytes of bodies sent, without HTTP headers."""
    response_bytes: int = 0
    """Bytes of answers received, without HTTP headers."""
    client_ms: float = 0.0
    """Sum over the requests of the time from before the first byte sent to after the last received."""
    stage_ms: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    """Sum over the requests of what Server-Timing says, for each of STAGES."""
    latency: Histogram = field(default_factory=Histogram)
    """Of the right answers, from the intended start: in a closed loop a request is meant to start when it
    does."""
    service: Histogram = field(default_factory=Histogram)
    """Of the same answers from the actual start; empty in a closed loop, where both are the same."""
    lag: Histogram = field(default_factory=Histogram)
    """By how much requests started late, those that failed too, and those that were due and had not started
    at the end; empty in a closed loop."""
    unstarted: int = 0
    """Requests of an open loop that were due and could not be started: too many were in flight."""
    checked: int = 0
    """Of the right answers, the ones whose sequence was compared with another call of the same read."""
    reasons: dict[str, int] = field(default_factory=dict)
    """How often each reason of failure was met."""

    def add_answer(
        self,
        *,
        bases: int,
        samples: int,
        request_bytes: int,
        response_bytes: int,
        client_ms: float,
        stage_ms: Mapping[str, float],
        lag_ms: float | None = None,
        checked: bool = False,
    ) -> None:
        """Count a right answer; `lag_ms` is how late its request started, None in a closed loop."""
        self.requests += 1
        self.bases += bases
        self.samples += samples
        self.request_bytes += request_bytes
        self.response_bytes += response_bytes
        self.client_ms += client_ms
        for stage in STAGES:
            self.stage_ms[stage] += stage_ms.get(stage, 0.0)
        self.checked += checked
        if lag_ms is None:
            self.latency.add(client_ms)
        else:
            self.latency.add(lag_ms + client_ms)
            self.service.add(client_ms)
            self.lag.add(lag_ms)

    def add_failure(self, reason: str, *, rejected: bool = False, lag_ms: float | None = None) -> None:
        """Count a request without a right answer."""
        if lag_ms is not None:
            self.lag.add(lag_ms)
        self.requests += 1
        self.failures += 1
        self.rejected += rejected
        self._add_reason(reason, 1)

    def merge(self, other: Self) -> None:
        """Count what `other` counted, too."""
        self.requests += other.requests
        self.failures += other.failures
        self.rejected += other.rejected
        self.bases += other.bases
        self.samples += other.samples
        self.request_bytes += other.request_bytes
        self.response_bytes += other.response_bytes
        self.client_ms += other.client_ms
        for stage in STAGES:
            self.stage_ms[stage] += other.stage_ms[stage]
        self.latency.merge(other.latency)
        self.service.merge(other.service)
        self.lag.merge(other.lag)
        self.unstarted += other.unstarted
        self.checked += other.checked
        for reason, times in other.reasons.items():
            self._add_reason(reason, times)

    def _add_reason(self, reason: str, times: int) -> None:
        if reason not in self.reasons and len(self.reasons) >= MAX_REASONS:
            reason = OTHER_REASONS
        self.reasons[reason] = self.reasons.get(reason, 0) + times

    @property
    def answers(self) -> int:
        """Requests that were answered rightly."""
        return self.requests - self.failures

    @property
    def network_ms(self) -> float:
        """Sum over the requests of the time that the service does not account for: the network's share."""
        return self.client_ms - self.stage_ms["total"]

    def request_quantile_ms(self, q: float) -> float | None:
        """Return the `q` quantile of the latency of all requests, of which the failed ones took for ever;
        None without any."""
        if not self.requests:
            return None
        rank = max(1, math.ceil(q * self.requests))
        return self.latency.ranked_ms(rank) if rank <= self.answers else math.inf

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Read what `dataclasses.asdict` made of a tally, also after JSON made the bucket numbers text.

        Words that were not there yet when it was written count as nothing.
        """
        histograms = {
            name: Histogram({int(bucket): count for bucket, count in plain[name]["counts"].items()})
            for name in ("latency", "service", "lag")
            if name in plain
        }
        return cls(**{**plain, **histograms})


def merged(tallies: Iterable[Tally]) -> Tally:
    """Return the sum of `tallies`, which stay as they are."""
    total = Tally()
    for tally in tallies:
        total.merge(tally)
    return total
