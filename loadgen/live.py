"""Bases per second while a run is going: for the console's lines, the final table and the web UI's tab.

Tallies are added as they come in; a tick now and then cuts them into intervals, of which the last few give
the current figures. Knows neither locust nor clocks.
"""

from collections import deque
from collections.abc import Iterator

from loadgen.tally import STAGES, Tally, merged

RECENT_INTERVALS = 5
"""How many of the last intervals the current figures cover."""


class Live:
    """What came back so far, and lately."""

    def __init__(self, now_s: float) -> None:
        self.restart(now_s)

    def restart(self, now_s: float) -> None:
        """Forget everything: a run begins."""
        self._whole = Tally()
        self._whole_s = 0.0
        self._interval = Tally()
        self._interval_began_s = now_s
        self._recent: deque[tuple[float, Tally]] = deque(maxlen=RECENT_INTERVALS)

    def add(self, tally: Tally) -> None:
        """Take what was counted since the last time."""
        self._interval.merge(tally)
        self._whole.merge(tally)

    def tick(self, now_s: float) -> None:
        """End the current interval."""
        interval_s = now_s - self._interval_began_s
        self._whole_s += interval_s
        self._recent.append((interval_s, self._interval))
        self._interval, self._interval_began_s = Tally(), now_s

    @property
    def total(self) -> Tally:
        """Everything since the run began."""
        return self._whole

    def current(self) -> dict[str, float]:
        """Return the figures of the last intervals."""
        return figures(merged(tally for _, tally in self._recent), sum(span_s for span_s, _ in self._recent))

    def mean(self) -> dict[str, float]:
        """Return the figures of the whole run up to the last tick."""
        return figures(self._whole, self._whole_s)

    def line(self) -> str:
        """Return the current figures on one line."""
        now, mean = self.current(), self.mean()
        stages = " ".join(f"{name} {now[f'{name} [ms]']:.1f}" for name in SHARES)
        return (
            f"{now['bases/s']:,.0f} bases/s (mean {mean['bases/s']:,.0f}),"
            f" {now['samples/s']:,.0f} samples/s, {now['sent [MB/s]']:.1f} MB/s sent; ms: {stages}"
        )

    def rows(self) -> list[dict[str, str]]:
        """Return the figures as rows of the web UI's table."""
        now, mean = self.current(), self.mean()
        return [
            {"figure": name, "now": _text(now[name]), "mean": _text(value)} for name, value in mean.items()
        ]

    def table(self) -> Iterator[str]:
        """Yield the lines of the final table."""
        total, mean = self.total, self.mean()
        yield f"{'Basecalls':<24}{'total':>20}{'per second':>20}"
        yield "-" * 64
        for name, count in (
            ("bases", total.bases),
            ("samples", total.samples),
            ("bytes sent", total.request_bytes),
            ("bytes received", total.response_bytes),
        ):
            yield f"{name:<24}{count:>20,}{count / self._whole_s if self._whole_s else 0.0:>20,.0f}"
        yield f"{'answers':<24}{total.answers:>20,}"
        yield f"{'failures (503)':<24}{f'{total.failures:,} ({total.rejected:,})':>20}"
        yield "-" * 64
        for name in ("p50 [ms]", "p99 [ms]", *(f"{share} [ms]" for share in SHARES)):
            yield f"{name:<24}{mean[name]:>20,.2f}"


SHARES = (*STAGES[:-1], "network")
"""What an answer's time is made of: the stages of the service, and what none of them accounts for."""


def figures(tally: Tally, span_s: float) -> dict[str, float]:
    """Return the rates, latencies and mean shares of an answer's time of a tally that took `span_s`."""
    per_s = 1.0 / span_s if span_s > 0 else 0.0
    per_answer = 1.0 / max(1, tally.answers)
    return {
        "bases/s": tally.bases * per_s,
        "samples/s": tally.samples * per_s,
        "answers/s": tally.answers * per_s,
        "sent [MB/s]": tally.request_bytes * per_s / 1e6,
        "received [MB/s]": tally.response_bytes * per_s / 1e6,
        "p50 [ms]": tally.latency.quantile_ms(0.5) or 0.0,
        "p99 [ms]": tally.latency.quantile_ms(0.99) or 0.0,
        **{f"{stage} [ms]": tally.stage_ms[stage] * per_answer for stage in STAGES[:-1]},
        "network [ms]": tally.network_ms * per_answer,
    }


def _text(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 1000 else f"{figure:.2f}"
