"""Replicas that go away behind a client, for a few seconds: the promises that a soak keeps for a minute."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import survival
from benchmarks.measure import Finding
from service import client


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


@pytest.mark.parametrize("disturb", [survival.kill, survival.rolling])
def test_no_read_is_lost_or_comes_twice_when_replicas_go_away(
    tmp_path: Path,
    disturb: Callable[[Path, float, float], list[Finding]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Little work for a machine that has other things to do: replicas that are slow, and not much in flight.
    monkeypatch.setattr(survival, "BATCH_S", 0.3)
    monkeypatch.setattr(client, "WINDOW_SAMPLES", 1_000_000)
    findings = by_name(disturb(tmp_path, 1.0, 0.2))
    assert {name: one.value for name, one in findings.items() if one.met is False} == {}
    assert int(findings["replicas that went away"].value) >= survival.REPLICAS
    assert int(findings["reads"].value) > 0
    assert sum(one.met is True for one in findings.values()) >= 4
