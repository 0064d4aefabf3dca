"""The figures of a run in the units of the field, from what was counted and how long that took. Pure."""

from loadgen.tally import STAGES, Tally

SHARES = (*STAGES[:-1], "network")
"""What an answer's time is made of: the stages of the service, and what none of them accounts for."""

TITLES = {
    "bases_per_s": "bases/s",
    "samples_per_s": "samples/s",
    "reads_per_s": "reads/s",
    "request_mb_per_s": "sent [MB/s]",
    "response_mb_per_s": "received [MB/s]",
    "p50_ms": "p50 [ms]",
    "p90_ms": "p90 [ms]",
    "p99_ms": "p99 [ms]",
    "service_p50_ms": "service p50 [ms]",
    "service_p99_ms": "service p99 [ms]",
    "lag_p99_ms": "schedule lag p99 [ms]",
    **{f"{share}_ms": f"{share} [ms]" for share in SHARES},
}
"""What tables call each figure. Those of `service` and `lag` are of an open loop alone."""

COLUMNS = tuple(name for name in TITLES if name not in {"p90_ms", "service_p50_ms", "service_p99_ms"})
"""As many as a table on a page has room for."""
LATENCIES = ("p50_ms", "p90_ms", "p99_ms", "service_p50_ms", "service_p99_ms")
"""The figures that say nothing of the service where the client was the limit."""


def figures(tally: Tally, span_s: float) -> dict[str, float]:
    """Return the rates, latencies and mean shares of an answer's time of a tally that took `span_s`."""
    per_s = 1.0 / span_s if span_s > 0 else 0.0
    per_answer = 1.0 / max(1, tally.answers)
    quantiles = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99}
    values = {
        "bases_per_s": tally.bases * per_s,
        "samples_per_s": tally.samples * per_s,
        "reads_per_s": tally.answers * per_s,
        "request_mb_per_s": tally.request_bytes * per_s / 1e6,
        "response_mb_per_s": tally.response_bytes * per_s / 1e6,
        **{name: tally.latency.quantile_ms(q) or 0.0 for name, q in quantiles.items()},
        **{f"{stage}_ms": tally.stage_ms[stage] * per_answer for stage in STAGES[:-1]},
        "network_ms": tally.network_ms * per_answer,
    }
    if len(tally.lag):
        values["service_p50_ms"] = tally.service.quantile_ms(0.5) or 0.0
        values["service_p99_ms"] = tally.service.quantile_ms(0.99) or 0.0
        values["lag_p99_ms"] = tally.lag.quantile_ms(0.99) or 0.0
    return {name: values[name] for name in TITLES if name in values}


def counts(tally: Tally) -> dict[str, int]:
    """Return what was counted to the last one."""
    return {
        "bases": tally.bases,
        "samples": tally.samples,
        "request_bytes": tally.request_bytes,
        "response_bytes": tally.response_bytes,
        "answers": tally.answers,
        "failures": tally.failures,
        "rejected": tally.rejected,
        "unstarted": tally.unstarted,
        "checked": tally.checked,
    }


def as_text(figure: float) -> str:
    """Return a figure as tables show it."""
    return f"{figure:,.0f}" if figure >= 1000 else f"{figure:.2f}"
