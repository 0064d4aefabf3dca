"""What follows from runs whose truth is known."""

import math
from dataclasses import replace

import pytest
from measured import BASES_PER_S, CONTROL, a_run, a_setup

from loadgen.analysis import analyse, clean_window, is_resolved
from loadgen.measure import BASES, CLIENT_CPU, MEASURES, P50, RATES, RETRANSMITS, SOFTIRQ
from loadgen.observation import Observation
from loadgen.results import Run


def changed(run: Run, *, path: str, round_: int | None = None, **changes: object) -> Run:
    """The run with some of its blocks changed."""

    def change(observation: Observation) -> Observation:
        wanted = observation.path == path and round_ in {None, observation.round}
        return replace(observation, **changes) if wanted else observation  # type: ignore[arg-type]  # any field

    return replace(run, observations=tuple(map(change, run.observations)))


def test_a_slower_path_is_found_slower_by_its_true_factor() -> None:
    results = analyse(a_run({"vxlan/podip": 0.95, "routed/podip": 1.0}))
    slow, same = results.of(BASES, "model")
    assert (slow.path, slow.verdict.word) == ("vxlan/podip", "lower")
    assert slow.verdict.low < 0.95 < slow.verdict.high
    assert same.verdict.low < 1.0 < same.verdict.high
    assert slow.value == pytest.approx(0.95 * BASES_PER_S["model"], rel=0.01)
    assert slow.host_value == pytest.approx(BASES_PER_S["model"], rel=0.01)


def test_words_follow_the_measure() -> None:
    results = analyse(a_run({"vxlan/podip": 0.9}))
    (speed,), (latency,), (cpu,) = (results.of(m, "null") for m in (BASES, P50, CLIENT_CPU))
    assert speed.words.startswith("slower by 9.9 % [")
    assert latency.words.startswith("slower by 10.8 % [")
    assert cpu.words.startswith("dearer by ")


def test_every_path_is_held_against_both_arms_of_the_control() -> None:
    run = a_run({"svc": 1.0}, noise=0.0)
    # One arm 2 % faster: the reference is the geometric mean of both.
    results = analyse(changed(run, path=CONTROL.name, spread_bases=1.02 * 4 * BASES_PER_S["model"]))
    (row,) = results.of(BASES, "model")
    assert row.verdict.ratio == pytest.approx(1 / math.sqrt(1.02))


def test_host_networking_that_differs_from_itself_forbids_every_verdict_of_that_arm() -> None:
    run = a_run({"svc": 0.9, CONTROL.name: 1.1})
    results = analyse(run)
    rows = [row for row in results.comparisons if row.arm == "model"]
    assert len(rows) == len(MEASURES)
    assert all(row.withheld and row.words.startswith("no verdict") for row in rows)
    assert not is_resolved(results, "model")
    failed = [gate.name for gate in results.gates if not gate.held]
    assert "A/A control, model arm: Bases per second" in failed


def test_a_control_that_differs_in_cpu_alone_forbids_only_cpu() -> None:
    run = changed(a_run({"svc": 0.9}), path=CONTROL.name, client_cpu_s=0.6)
    results = analyse(run)
    assert [row.withheld for row in results.of(CLIENT_CPU, "model")] == [True]
    assert [row.withheld for row in results.of(BASES, "model")] == [False]


def test_a_round_counts_for_a_path_only_where_its_block_and_both_of_hosts_do() -> None:
    run = a_run({"a": 1.0, "b": 1.0})
    run = changed(run, path="a", round_=0, voids=("failed",))
    run = changed(run, path=CONTROL.name, round_=1, voids=("failed",))
    rounds = {row.path: row.verdict.rounds for row in analyse(run).of(BASES, "model")}
    assert rounds == {"a": 6, "b": 7}


def test_a_round_that_was_broken_off_does_not_count() -> None:
    run = a_run({"a": 1.0})
    broken_off = replace(run, observations=run.observations[:-1])
    assert len(broken_off.rounds) == 7
    assert analyse(broken_off).of(BASES, "model")[0].verdict.rounds == 7


def test_intervals_before_the_planned_end_are_wider_because_error_is_left_for_later() -> None:
    run = a_run({"a": 1.0})
    early, late = (analyse(replace(run, rounds_planned=planned)) for planned in (16, 8))
    widths = [row.verdict.high - row.verdict.low for r in (early, late) for row in r.of(BASES, "model")]
    assert widths[0] > widths[1]


def test_a_run_is_resolved_when_every_path_has_its_verdict() -> None:
    assert is_resolved(analyse(a_run({"a": 0.9, "b": 1.0}, noise=0.0005)), "model")
    assert not is_resolved(analyse(a_run({"a": 0.9, "b": 1.0}, noise=0.02)), "model")


def test_where_a_line_rate_is_set_what_crosses_the_line_is_held_against_it() -> None:
    run = a_run({"bridge/podip": 100.0, "vxlan/podip": 1.0}, rounds=2)
    limited = replace(run, setup=replace(run.setup, options={"line_rate_bps": 500_000_000}))
    assert [gate for gate in analyse(run).gates if gate.name == "line rate"] == []
    (gate,) = (gate for gate in analyse(limited).gates if gate.name == "line rate")
    assert gate.held


def test_a_run_is_not_resolved_before_its_control_is() -> None:
    run = a_run({"a": 0.5}, noise=0.0005)
    noisy = replace(
        run,
        observations=tuple(
            replace(o, spread_bases=o.spread_bases * (1 + 0.05 * (-1) ** o.round))
            if o.path == CONTROL.name
            else o
            for o in run.observations
        ),
    )
    results = analyse(noisy)
    assert [row.verdict.word for row in results.of(BASES, "model")] == ["lower"]
    assert results.control(BASES, "model").verdict.word == "unresolved"
    assert not is_resolved(results, "model")


def test_headroom_is_the_null_arm_over_the_model_arm_in_samples() -> None:
    headrooms = {h.path: h for h in analyse(a_run({"a": 0.5}, noise=0.0)).headrooms}
    assert headrooms["a"].factor == pytest.approx(50)
    assert headrooms["a"].ceiling_bases_per_s == pytest.approx(0.5 * BASES_PER_S["null"])


def test_one_arm_alone_has_no_headroom() -> None:
    run = a_run({"a": 1.0})
    setup = a_setup("a", arms=("null",))
    alone = replace(run, setup=setup, observations=tuple(o for o in run.observations if o.arm == "null"))
    assert analyse(alone).headrooms == ()


def test_the_shares_of_an_answers_time_add_up_to_it() -> None:
    run = a_run({"a": 1.0}, noise=0.0)
    summary = analyse(run).summaries[0]
    window = clean_window(run, summary.path, summary.arm)
    assert sum(summary.shares_ms.values()) == pytest.approx(window.client_ms / window.answers)
    assert summary.shares_ms["network"] == pytest.approx(0.1 * window.client_ms / window.answers)


def test_failures_are_counted_also_where_the_block_is_void() -> None:
    run = a_run({"a": 1.0})
    failed = replace(run.observations[0].total, failures=3)
    path, arm = run.observations[0].path, run.observations[0].arm
    run = replace(run, observations=(replace(run.observations[0], total=failed, voids=("3 failed",)),))
    (summary,) = (s for s in analyse(run).summaries if (s.path, s.arm) == (path, arm))
    assert (summary.blocks, summary.voided, summary.failures) == (1, 1, 3)
    assert math.isnan(summary.bases_per_s)


def test_a_run_without_blocks_has_no_verdicts_and_says_so() -> None:
    run = replace(a_run({"a": 1.0}), observations=())
    (row,) = analyse(run).of(BASES, "model")
    assert row.words == "not resolved; fewer than two rounds count"


def test_segments_sent_again_are_compared_by_their_share_also_where_host_has_none() -> None:
    run = changed(a_run({"a": 1.0, "b": 1.0}, noise=0.0), path="a", segments=1_000, retransmits=50)
    lossy, clean = analyse(run).contrasts_of(RETRANSMITS, "null")
    assert (lossy.path, lossy.value, lossy.host_value) == ("a", 5.0, 0.0)
    assert (lossy.difference.word, lossy.mark) == ("higher", "differs")
    assert lossy.words.startswith("more by 5 % [")
    assert (clean.difference.estimate, clean.difference.word) == (0.0, "equivalent")


def test_softirq_seconds_that_do_not_matter_are_a_share_of_host_networkings_cpu() -> None:
    run = a_run({"a": 1.0}, noise=0.0)
    (row,) = analyse(run).contrasts_of(SOFTIRQ, "null")
    host = run.observations[0]
    blocks = [o for o in run.observations if o.arm == "null" and o.path == host.path]
    cpu_s = sum(o.client_cpu_s + (o.server_cpu_s or 0.0) for o in blocks)
    assert row.margin == pytest.approx(0.01 * cpu_s * 1e6 / sum(o.total.bases for o in blocks))
    assert row.value == pytest.approx(row.host_value)


def test_host_networking_that_loses_more_than_itself_forbids_that_comparison_alone() -> None:
    results = analyse(changed(a_run({"a": 1.0}), path=CONTROL.name, segments=1_000, retransmits=50))
    assert [row.withheld for row in results.contrasts_of(RETRANSMITS, "model")] == [True]
    assert [row.withheld for row in results.contrasts_of(SOFTIRQ, "model")] == [False]
    failed = [gate.name for gate in results.gates if not gate.held]
    assert "A/A control, null arm: TCP segments sent again" in failed


def test_what_the_kernel_was_not_asked_for_is_not_compared() -> None:
    run = a_run({"a": 1.0})
    silent = tuple(replace(o, softirq_s=None, segments=None, retransmits=None) for o in run.observations)
    results = analyse(replace(run, observations=silent))
    assert (results.contrasts, results.control_contrasts) == ((), ())
    assert [results.contrasts_of(rate, "model") for rate in RATES] == [(), ()]
