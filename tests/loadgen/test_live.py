"""What the live figures promise: rates of the last intervals and of the whole run, from the same counts."""

from dataclasses import replace
from itertools import pairwise

import pytest
from measured import HOST, a_path, an_observation

from loadgen.live import MOST_POINTS, RECENT_INTERVALS, Live
from loadgen.plan import Block
from loadgen.tally import Tally


def tally(bases: int, answers: int = 1) -> Tally:
    made = Tally()
    for _ in range(answers):
        made.add_answer(
            bases=bases // answers,
            samples=9 * bases // answers,
            request_bytes=1_000_000,
            response_bytes=500_000,
            client_ms=10.0,
            stage_ms={"receive": 1.0, "queue": 2.0, "compute": 3.0, "decode": 0.5, "total": 7.0},
        )
    return made


def test_rates_are_counts_over_time() -> None:
    live = Live(now_s=100.0)
    live.add(tally(600))
    live.add(tally(400))
    live.tick(now_s=102.0)
    figures = live.current()
    assert figures["bases_per_s"] == 500.0
    assert figures["samples_per_s"] == 4500.0
    assert figures["reads_per_s"] == 1.0
    assert (figures["request_mb_per_s"], figures["response_mb_per_s"]) == (1.0, 0.5)
    assert figures["p50_ms"] == pytest.approx(10.0, rel=0.01)


def test_an_answers_time_is_shared_between_the_stages_and_the_network() -> None:
    live = Live(now_s=0.0)
    live.add(tally(600, answers=3))
    live.tick(now_s=1.0)
    figures = live.mean()
    shares = {name: figures[f"{name}_ms"] for name in ("receive", "queue", "compute", "decode", "network")}
    assert shares == {"receive": 1.0, "queue": 2.0, "compute": 3.0, "decode": 0.5, "network": 3.0}


def test_current_figures_forget_what_the_mean_remembers() -> None:
    live = Live(now_s=0.0)
    live.add(tally(1000))
    for second in range(1, RECENT_INTERVALS + 2):
        live.tick(now_s=float(second))
    assert live.current()["bases_per_s"] == 0.0
    assert live.mean()["bases_per_s"] == pytest.approx(1000 / (RECENT_INTERVALS + 1))
    assert live.total.bases == 1000


def test_a_restart_forgets_everything() -> None:
    live = Live(now_s=0.0)
    live.add(tally(1000))
    live.tick(now_s=1.0)
    live.restart(now_s=5.0)
    assert live.total == Tally()
    assert live.mean()["bases_per_s"] == 0.0


def test_nothing_is_divided_by_zero_before_the_first_answer() -> None:
    live = Live(now_s=0.0)
    assert live.line().startswith("0 bases/s")
    assert any(line.startswith("bases ") for line in live.table())


def test_the_table_has_the_totals_to_the_base() -> None:
    live = Live(now_s=0.0)
    live.add(tally(1_234_567))
    live.tick(now_s=2.0)
    (row,) = (line for line in live.table() if line.startswith("bases "))
    assert row.split() == ["bases", "1,234,567", "617,284"]


def test_rows_for_the_web_ui_are_text() -> None:
    live = Live(now_s=0.0)
    live.add(tally(2_000_000))
    live.tick(now_s=1.0)
    rows = live.rows()
    assert [row["of"] for row in rows] == ["now", "whole run"]
    assert [row["bases_per_s"] for row in rows] == ["2,000,000", "2,000,000"]
    assert [row["queue_ms"] for row in rows] == ["2.00", "2.00"]
    assert "lag_p99_ms" not in rows[0], "there is none in a closed loop"


def test_the_history_loses_no_base_when_it_becomes_coarser() -> None:
    live = Live(now_s=0.0)
    seconds = 3 * MOST_POINTS + 7
    for second in range(seconds):
        live.add(tally(second))
        live.tick(now_s=second + 1.0)
    history = live.history()
    assert MOST_POINTS // 2 <= len(history) <= MOST_POINTS + 1
    assert history[-1]["end_s"] == seconds
    spans_s = [after["end_s"] - before["end_s"] for before, after in pairwise([{"end_s": 0.0}, *history])]
    bases = [point["bases_per_s"] * span_s for point, span_s in zip(history, spans_s, strict=True)]
    assert sum(bases) == pytest.approx(sum(range(seconds)))


def test_a_path_has_the_mean_of_its_blocks_that_count() -> None:
    live = Live(now_s=0.0)
    host = [an_observation(Block(number, 0, HOST, "model", 0.0), number + 1) for number in range(2)]
    svc = an_observation(Block(0, 1, a_path("svc"), "model", 0.0))
    for observation in (*host, replace(host[0], voids=("no reason",)), svc):
        live.note(observation)
    rows = {row["path"]: row for row in live.paths()}
    assert (rows["host"]["blocks"], rows["host"]["void"]) == (3, 1)
    assert rows["host"]["bases_per_s"] == pytest.approx(sum(block.bases_per_s for block in host) / 2)
    assert rows["svc"]["bases_per_s"] == svc.bases_per_s
    assert [block["path"] for block in live.blocks()] == ["host", "host", "host", "svc"]
    assert any(line.startswith("svc: model") and line.endswith("0/1") for line in live.table())


def test_no_latency_is_told_of_a_run_that_the_client_limits() -> None:
    def lagging(now_s: float) -> Live:
        live = Live(now_s)
        live.restart(now_s, most_lag_ms=20.0)
        late = tally(0)
        late.add_answer(
            bases=1, samples=9, request_bytes=18, response_bytes=2, client_ms=5.0, stage_ms={}, lag_ms=30.0
        )
        live.add(late)
        live.tick(now_s + 1.0)
        return live

    live = lagging(0.0)
    assert live.client_limited.startswith("client-limited")
    assert not {"p50_ms", "p99_ms", "service_p99_ms"} & set(live.mean())
    assert live.mean()["lag_p99_ms"] == pytest.approx(30.0, rel=0.01)
    assert live.document()["client_limited"] == live.client_limited
    assert any(line.startswith("no latency is reported, client-limited") for line in live.table())
    assert not any(line.startswith("p99") for line in live.table())
    assert live.line().endswith("CLIENT-LIMITED")
