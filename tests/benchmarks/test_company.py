"""The same reads alone and among others, briefly: answers and counts."""

from pathlib import Path

import pytest

from benchmarks.company import company
from service import client


@pytest.mark.parametrize("model", ["paced", ""], ids=["paced", "the default model"])
def test_company_changes_no_answer_and_every_base_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setattr(client, "WINDOW_READS", 64)
    findings = {finding.name: finding for finding in company(tmp_path, model, 8)}
    assert {name: one.value for name, one in findings.items() if one.met is False} == {}
    assert findings["reads sent twice"].value == 8
    assert int(findings["reads of their company"].value) >= 32
    assert int(findings["bases in the answers"].value) > 0
