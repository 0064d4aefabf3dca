"""What the live figures promise: rates of the last intervals and of the whole run, from the same counts."""

import pytest

from loadgen.live import RECENT_INTERVALS, Live
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
    assert figures["bases/s"] == 500.0
    assert figures["samples/s"] == 4500.0
    assert figures["answers/s"] == 1.0
    assert (figures["sent [MB/s]"], figures["received [MB/s]"]) == (1.0, 0.5)
    assert figures["p50 [ms]"] == pytest.approx(10.0, rel=0.01)


def test_an_answers_time_is_shared_between_the_stages_and_the_network() -> None:
    live = Live(now_s=0.0)
    live.add(tally(600, answers=3))
    live.tick(now_s=1.0)
    figures = live.mean()
    shares = {name: figures[f"{name} [ms]"] for name in ("receive", "queue", "compute", "decode", "network")}
    assert shares == {"receive": 1.0, "queue": 2.0, "compute": 3.0, "decode": 0.5, "network": 3.0}


def test_current_figures_forget_what_the_mean_remembers() -> None:
    live = Live(now_s=0.0)
    live.add(tally(1000))
    for second in range(1, RECENT_INTERVALS + 2):
        live.tick(now_s=float(second))
    assert live.current()["bases/s"] == 0.0
    assert live.mean()["bases/s"] == pytest.approx(1000 / (RECENT_INTERVALS + 1))
    assert live.total.bases == 1000


def test_a_restart_forgets_everything() -> None:
    live = Live(now_s=0.0)
    live.add(tally(1000))
    live.tick(now_s=1.0)
    live.restart(now_s=5.0)
    assert live.total == Tally()
    assert live.mean()["bases/s"] == 0.0


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
    assert {"figure": "bases/s", "now": "2,000,000", "mean": "2,000,000"} in rows
    assert {"figure": "queue [ms]", "now": "2.00", "mean": "2.00"} in rows
