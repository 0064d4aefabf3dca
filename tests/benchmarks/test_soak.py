"""What a soak shows of what it found, and its exit status."""

import json

import pytest
import typer

from benchmarks.measure import Finding
from benchmarks.soak import _end

KEPT = Finding("reads lost", 0, "0", met=True)
BROKEN = Finding("goodput, samples/s", 1234567.8, ">= 2e6", met=False)
VALUE = Finding("requests", 12345)


@pytest.mark.parametrize(
    ("findings", "status"), [([VALUE], 0), ([KEPT, VALUE], 0), ([KEPT, VALUE, BROKEN], 1)]
)
def test_the_table_is_on_stderr_json_is_the_last_line_of_stdout_and_1_is_a_broken_promise(
    findings: list[Finding], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended:
        _end("flood", findings)
    assert ended.value.exit_code == status
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["benchmark"] == "flood"
    assert document["aims"][-1]["met"] is (None if not status else False)
    assert {"name": "requests", "value": 12345, "aim": "", "met": None} in document["aims"]
