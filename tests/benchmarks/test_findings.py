"""What a soak shows of what it found, and its exit status."""

import json

import pytest
import typer

from benchmarks.findings import Finding, all_kept
from benchmarks.soak import _end

KEPT = Finding("reads lost", 0, "0", True)
BROKEN = Finding("goodput, samples/s", 1234567.8, ">= 2e6", False)
VALUE = Finding("requests", 12345)


@pytest.mark.parametrize(("findings", "status"), [([KEPT, VALUE], 0), ([KEPT, VALUE, BROKEN], 1)])
def test_the_table_is_on_stderr_json_is_the_last_line_of_stdout_and_1_is_a_broken_promise(
    findings: list[Finding], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended:
        _end("flood", findings)
    assert ended.value.exit_code == status
    shown = capsys.readouterr()
    document = json.loads(shown.out.splitlines()[-1])
    assert (document["soak"], document["kept"]) == ("flood", not status)
    assert document["findings"][0] == {"name": "reads lost", "value": 0, "promise": "0", "kept": True}
    assert "12,345" in shown.err and ("NO" in shown.err) == bool(status)


def test_where_nothing_is_promised_nothing_is_broken() -> None:
    assert all_kept([VALUE]) and not all_kept([VALUE, BROKEN])
