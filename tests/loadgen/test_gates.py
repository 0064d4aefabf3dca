"""Gates: what must hold for a run's numbers to mean what they say."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from measured import HOST, a_path, an_observation

from loadgen.gates import block_gates, control_gate, line_rate_gate, warm_up_gate
from loadgen.observation import Observation
from loadgen.plan import Block
from loadgen.verdict import judge

BLOCK = Block(0, 0, HOST, "model", 0.0)


def windows(speeds: Sequence[float]) -> list[Observation]:
    return [an_observation(BLOCK, speed) for speed in speeds]


def test_the_warm_up_gate_says_how_the_last_windows_went() -> None:
    gate = warm_up_gate("host/hostip", "model", windows([1.0, 1.5, 1.0]))
    assert gate.name == "warm-up by host/hostip, model arm"
    assert not gate.held
    assert "3 windows were run" in gate.detail
    assert "40,000, 60,000, 40,000 bases/s" in gate.detail


def test_host_networking_that_differs_from_itself_fails_the_control() -> None:
    verdict = judge([0.02, 0.021, 0.019, 0.02, 0.0205], look=5, looks=5, delta=0.01)
    gate = control_gate("null", "Bases per second", verdict)
    assert not gate.held
    assert gate.name == "A/A control, null arm: Bases per second"
    assert gate.detail.startswith("host networking against itself: ratio 1.0203 [1.0")


def test_host_networking_that_is_not_told_from_itself_holds_the_control() -> None:
    verdict = judge([0.02, -0.02, 0.01, -0.01], look=4, looks=4, delta=0.01)
    assert control_gate("model", "Bases per second", verdict).held


def test_voided_blocks_are_counted_by_path_and_arm_with_the_first_reason() -> None:
    good = an_observation(BLOCK)
    bad = replace(good, voids=("2 of 9 requests failed", "no counters"))
    svc = an_observation(Block(0, 1, a_path("svc"), "null", 0.0))
    (gate,) = block_gates([good, bad, bad, svc])
    assert not gate.held
    assert gate.name == "blocks of host, model arm"
    assert gate.detail == "2 of 3 voided; the first: 2 of 9 requests failed; no counters"


def test_a_run_without_voided_blocks_has_one_gate_that_held() -> None:
    (gate,) = block_gates([an_observation(BLOCK)] * 3)
    assert gate.held
    assert gate.detail == "none of 3 was voided"


@pytest.mark.parametrize(("share", "held"), [(1.01, True), (0.95, True), (0.85, False)])
def test_nothing_goes_faster_than_the_line_but_for_a_burst(share: float, held: bool) -> None:
    observation = an_observation(BLOCK)
    sent_bps = 8 * observation.total.request_bytes / observation.elapsed_s
    assert line_rate_gate([observation], sent_bps * share).held is held


def test_without_blocks_the_line_is_not_exceeded() -> None:
    assert line_rate_gate([], 1e9).held
