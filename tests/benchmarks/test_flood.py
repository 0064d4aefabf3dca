"""A flood of two seconds: the promises of the soak that do not depend on how fast the machine is."""

from pathlib import Path

import pytest

from benchmarks import flood

OF_SPEED = {"goodput, samples/s", "refused within, p99, ms", "high priority in the flood, median, s"}


def test_a_flood_is_refused_with_words_within_the_bound_of_memory_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flood, "BATCH_S", 0.1)
    findings = {finding.name: finding for finding in flood.flood(tmp_path, 2.0)}
    assert int(findings["called"].value) > 0 and int(findings["refused"].value) > 0
    assert int(findings["samples counted by the server"].value) > 0
    kept = {name: one.met for name, one in findings.items() if one.met is not None and name not in OF_SPEED}
    assert kept == {
        "refused with 503 and when to come again": True,
        "without an answer": True,
        "samples counted by the server": True,
        "memory grown, MiB": True,
    }
    assert findings.keys() >= OF_SPEED
