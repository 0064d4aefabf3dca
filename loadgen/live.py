"""Bases per second while a run is going: for the console's lines, the final table, files and the web UI.

Tallies are added as they come in; a tick now and then cuts them into intervals, of which the last few give
the current figures and all of them the run's history. Knows neither locust nor clocks.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any

from loadgen.figures import COLUMNS, LATENCIES, SHARES, TITLES, as_text, counts, figures
from loadgen.observation import Observation, client_limit
from loadgen.tally import Tally, merged

RECENT_INTERVALS = 5
"""How many of the last intervals the current figures cover."""
MOST_POINTS = 240
"""How many points the history has at most: beyond, neighbours are added up, which loses no count."""
MOST_BLOCKS = 2000
"""How many of the last blocks are kept."""


class Live:
    """What came back so far, and lately."""

    def __init__(self, now_s: float) -> None:
        self.restart(now_s)

    def restart(self, now_s: float, *, most_lag_ms: float | None = None) -> None:
        """Forget everything: a run begins. Where it has one load, which may lag behind its schedule by so
        much, no latency is told of it when it lags more."""
        self._most_lag_ms = most_lag_ms
        self.notes: list[str] = []
        """What else is to be said of the run, such as which check was done."""
        self.result: dict[str, Any] | None = None
        """What a search has found."""
        self._whole = Tally()
        self._whole_s = 0.0
        self._interval = Tally()
        self._interval_began_s = now_s
        self._recent: deque[tuple[float, Tally]] = deque(maxlen=RECENT_INTERVALS)
        self._history: list[tuple[float, Tally]] = []
        self._point_intervals = 1
        self._point: list[tuple[float, Tally]] = []
        self._blocks: deque[Observation] = deque(maxlen=MOST_BLOCKS)

    def add(self, tally: Tally) -> None:
        """Take what was counted since the last time."""
        self._interval.merge(tally)
        self._whole.merge(tally)

    def tick(self, now_s: float) -> None:
        """End the current interval."""
        interval = now_s - self._interval_began_s, self._interval
        self._whole_s += interval[0]
        self._recent.append(interval)
        self._point.append(interval)
        if len(self._point) == self._point_intervals:
            self._history.append(_joined(self._point))
            self._point = []
        if len(self._history) > MOST_POINTS:
            pairs = [self._history[at : at + 2] for at in range(0, len(self._history) - 1, 2)]
            self._point = self._history[2 * len(pairs) :] + self._point
            self._history = [_joined(pair) for pair in pairs]
            self._point_intervals *= 2
        self._interval, self._interval_began_s = Tally(), now_s

    def note(self, observation: Observation) -> None:
        """Take a block that was measured."""
        self._blocks.append(observation)

    @property
    def total(self) -> Tally:
        """Everything since the run began."""
        return self._whole

    def current(self) -> dict[str, float]:
        """Return the figures of the last intervals."""
        span_s, tally = _joined(list(self._recent))
        return figures(tally, span_s)

    def mean(self) -> dict[str, float]:
        """Return the figures of the whole run up to the last tick, without latencies where it is limited by
        the client."""
        means = figures(self._whole, self._whole_s)
        hidden = LATENCIES if self.client_limited else ()
        return {name: value for name, value in means.items() if name not in hidden}

    @property
    def client_limited(self) -> str:
        """Why the client and not the service is measured; nothing where the service is."""
        return client_limit(self._whole, self._most_lag_ms) if self._most_lag_ms is not None else ""

    def last(self) -> dict[str, float]:
        """Return the figures of the last interval alone."""
        span_s, tally = self._recent[-1]
        return figures(tally, span_s)

    def history(self) -> list[dict[str, float]]:
        """Return the figures of each point of the run, with `end_s` from its beginning."""
        points, end_s = [], 0.0
        for span_s, tally in (*self._history, *([_joined(self._point)] if self._point else [])):
            end_s += span_s
            failures_per_s = tally.failures / span_s if span_s > 0 else 0.0
            points.append({"end_s": end_s, **figures(tally, span_s), "failures_per_s": failures_per_s})
        return points

    def blocks(self) -> list[dict[str, Any]]:
        """Return the blocks of the run, each with its path, its arm and its figures; bases/s and samples/s
        are those of requests spread over their time in flight."""
        return [
            {
                "path": block.path,
                "arm": block.arm,
                "round": block.round,
                "users": block.users,
                "arrival_rate": block.arrival_rate,
                "started_s": block.started_s,
                **figures(block.window, block.window_s),
                "bases_per_s": block.bases_per_s,
                "samples_per_s": block.samples_per_s,
                "skew_ms": block.skew_s * 1e3,
                "gc_pause_ms": block.gc_pause_s * 1e3,
                "busiest_client": block.busiest_client,
                "voids": list(block.voids),
            }
            for block in self._blocks
        ]

    def paths(self) -> list[dict[str, Any]]:
        """Return, for each path and arm that blocks were run of, the figures of those that count."""
        kept: dict[tuple[str, str], list[Observation]] = {}
        for block in self._blocks:
            kept.setdefault((block.path, block.arm), []).append(block)
        rows = []
        for (path, arm), blocks in kept.items():
            valid = [block for block in blocks if not block.voids]
            span_s = sum(block.window_s for block in valid)
            whole = figures(merged(block.window for block in valid), span_s)
            if valid:
                whole["bases_per_s"] = sum(block.spread_bases for block in valid) / span_s
                whole["samples_per_s"] = sum(block.spread_samples for block in valid) / span_s
            void = len(blocks) - len(valid)
            rows.append({"path": path, "arm": arm, "blocks": len(blocks), "void": void, **whole})
        return rows

    def document(self) -> dict[str, Any]:
        """Return everything there is to say, for programs."""
        return {
            "client_limited": self.client_limited,
            "totals": counts(self._whole),
            "seconds": self._whole_s,
            "mean": self.mean(),
            "now": self.current(),
            "failures": self._whole.reasons,
            "history": self.history(),
            "paths": self.paths(),
            "blocks": self.blocks(),
            "notes": self.notes,
            "result": self.result,
        }

    def line(self) -> str:
        """Return the current figures on one line."""
        now, mean = self.current(), self.mean()
        stages = ", ".join(f"{share} {now[f'{share}_ms']:.1f}" for share in SHARES)
        lag = f", lag p99 {now['lag_p99_ms']:.1f} ms" if "lag_p99_ms" in now else ""
        limited = "; CLIENT-LIMITED" if self.client_limited else ""
        return (
            f"{now['bases_per_s']:,.0f} bases/s (mean {mean['bases_per_s']:,.0f}),"
            f" {now['samples_per_s']:,.0f} samples/s, {now['reads_per_s']:.1f} reads/s,"
            f" {now['request_mb_per_s']:.1f} MB/s sent, {now['response_mb_per_s']:.1f} received;"
            f" p50 {now['p50_ms']:.0f} ms, p99 {now['p99_ms']:.0f} ms{lag}; mean ms of an answer:"
            f" {stages}{limited}"
        )

    def rows(self) -> list[dict[str, str]]:
        """Return rows of the web UI's table, with the figures by their names: of now, of the whole run, and
        of each path."""
        named = {"now": self.current(), "whole run": self.mean()}
        named |= {f"{row['path']}: {row['arm']}": row for row in self.paths()}
        return [
            {"of": of, **{name: as_text(values[name]) for name in COLUMNS if name in values}}
            for of, values in named.items()
        ]

    def table(self) -> Iterator[str]:
        """Yield the lines of the final table."""
        total, mean = self.total, self.mean()
        rule = "-" * 72
        yield f"{'Basecalls':<28}{'total':>22}{'per second':>22}"
        yield rule
        for name, count in (
            ("bases", total.bases),
            ("samples", total.samples),
            ("bytes sent", total.request_bytes),
            ("bytes received", total.response_bytes),
            ("answers", total.answers),
        ):
            per_s = count / self._whole_s if self._whole_s else 0.0
            yield f"{name:<28}{count:>22,}{per_s:>22,.{0 if per_s >= 100 else 2}f}"
        yield f"{'failures (503)':<28}{f'{total.failures:,} ({total.rejected:,})':>22}"
        yield rule
        yield f"{'an answer [ms]':<28}{'':>22}{'share':>22}"
        in_all_ms = sum(mean[f"{share}_ms"] for share in SHARES)
        for share in SHARES:
            part_ms = mean[f"{share}_ms"]
            yield f"{share:<28}{part_ms:>22,.2f}{part_ms / in_all_ms if in_all_ms else 0.0:>22.1%}"
        yield rule
        if limit := self.client_limited:
            yield f"no latency is reported, {limit}"
        for name in (*LATENCIES, "lag_p99_ms"):
            if name in mean:
                yield f"{TITLES[name]:<28}{mean[name]:>22,.2f}"
        if paths := self.paths():
            yield rule
            yield f"{'path: arm':<28}{'bases/s':>14}{'p50 [ms]':>10}{'p99 [ms]':>10}{'void':>10}"
            for row in paths:
                name, void = f"{row['path']}: {row['arm']}", f"{row['void']}/{row['blocks']}"
                latency = f"{row['p50_ms']:>10,.1f}{row['p99_ms']:>10,.1f}"
                yield f"{name:<28}{row['bases_per_s']:>14,.0f}{latency}{void:>10}"
        if self.notes:
            yield rule
            yield from self.notes


def _joined(intervals: list[tuple[float, Tally]]) -> tuple[float, Tally]:
    return sum(span_s for span_s, _ in intervals), merged(tally for _, tally in intervals)
