import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from benchmarks import speed
from benchmarks.plots import write_plots
from benchmarks.speed import Part, as_record, conditions, report

ROOT = Path(__file__).parents[2]
MACHINE = {"processor": "a processor", "cores": 2, "load": 0.1, "measured": "2026-01-01T00:00:00Z"}
ENGINE = {
    "machine": MACHINE,
    "settings": {"quick": False},
    "sections": [{"title": "Rates", "columns": ["engine", "rate"], "rows": [["native", 2.5]], "note": "So."}],
    "aims": [{"name": "rate", "value": 2.5, "aim": ">= 2", "met": True}],
    "figures": {
        "samples_per_s": {"native: both": 2e6, "native: decoding": 9e6},
        "ceiling_samples_per_s": 4e6,
    },
}
PEER = {"bases_per_s": [1e3, 2e3], "p99_ms": [5.0, 9.0]}
FIGURES = {
    "ceilings": {"matrix_flops_per_s": {"1 core": {"float32": 1e11, "int8": None}}},
    "serving": {"null_arm": {"8000": {"null": 1e6, "sink": 2e6}, "100000": {"null": 2e6, "sink": 3e6}}},
    "comparison": {"in_process_bases_per_s": 3e3, "peers": dict.fromkeys(("fiveways", "fastapi"), PEER)},
}


def done(record: dict | None = ENGINE, ended: str = "") -> Part:
    return Part(record, 1.0, ended)


def test_the_report_has_every_table_all_aims_at_its_top_and_the_plots():
    text = report({"engine": done()}, ["engine.svg"])
    assert "| native | 2.5 |" in text
    assert text.index("| rate | 2.5 | >= 2 | yes |") < text.index("## Engine")
    assert "![engine](engine.svg)" in text


def test_what_did_not_come_to_its_end_says_so_beside_what_it_had_measured():
    text = report({"engine": done(ended="exit status 1"), "serving": done(None, "interrupted")}, [])
    assert "| benchmarks.engine | exit status 1 | comes to its end | NO |" in text
    assert text.index("**Not finished: exit status 1.**") < text.index("| native | 2.5 |")
    assert "## Serving\n\n**Not finished: interrupted.**" in text


def test_figures_of_a_busy_machine_or_a_quick_run_are_marked():
    busy = ENGINE | {"machine": MACHINE | {"load": 3.0}}
    quick = ENGINE | {"settings": {"quick": True}}
    said = ["\n".join(conditions({"engine": done(record)})) for record in (ENGINE, busy, quick)]
    assert ["busy" in words for words in said] == [False, True, False]
    assert ["measures nothing" in words for words in said] == [False, False, True]


def test_what_the_load_generator_costs_is_a_table_like_the_others():
    spread = {"median": 1.2, "min": 1.0, "max": 1.5}
    result = {"sender": "raw", "body_bytes": 1000, "cpu_s_per_gb": spread, "gb_per_s": spread}
    ratios = [
        {"sender": "fiveways", "to": "raw", "body_bytes": 1000, "cpu": spread, "aim": aim}
        for aim in (1.1, None)
    ]
    record = as_record({"benchmark": "loadgen_cost", "results": [result], "ratios": ratios})
    assert record["sections"][0]["rows"] == [["raw, 1,000 bytes", 1.2, 1.0, 1.5, 1.2]]
    assert [(aim["aim"], aim["met"]) for aim in record["aims"]] == [("<= 1.1", False)]


def test_plots_are_made_of_what_was_measured_and_of_nothing_else(tmp_path: Path):
    records = {"engine": ENGINE} | {name: {"figures": figures} for name, figures in FIGURES.items()}
    names = write_plots(records, tmp_path)
    assert names == ["engine.svg", "matrix.svg", "null_arm.svg", "peers.svg"]
    assert all((tmp_path / name).stat().st_size > 1000 for name in names)
    assert write_plots({name: {"figures": {}} for name in records}, tmp_path) == []


MADE_UP = """
    import signal, sys, time
    from benchmarks.measure import Record, Section, at_least, machine

    record = Record("made up", {{"quick": False}}, machine())
    record.add(Section("Rates", ("what", "rate"), (("a", 1.0),)))
    {then}
    record.finish()
"""


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return what makes `benchmarks.NAME` do something after its first table."""
    package = tmp_path / "made" / "benchmarks"
    package.mkdir(parents=True)
    (package / "measure.py").symlink_to(ROOT / "benchmarks" / "measure.py")
    monkeypatch.chdir(package.parent)

    def make(name: str, then: str) -> None:
        (package / f"{name}.py").write_text(textwrap.dedent(MADE_UP.format(then=then)))

    return make


def test_a_benchmark_that_fails_is_reported_with_what_it_had_measured(made_up, tmp_path: Path):
    made_up("engine", "sys.exit(3)")
    made_up("serving", "record.aims.append(at_least('rate', 1.0, 0.5))")
    (failed, _), (good, interrupted) = (speed.run(name, (), tmp_path) for name in ("engine", "serving"))
    assert failed.ended.startswith("exit status 3")
    assert failed.record and failed.record["sections"][0]["rows"] == [["a", 1.0]]
    assert (good.ended, interrupted) == ("", False)
    assert json.loads((tmp_path / "serving.json").read_text())["aims"][0]["met"] is True


def test_an_interruption_leaves_what_was_measured_and_exits_130(made_up, tmp_path: Path):
    made_up("engine", "open('measuring', 'w').close(); signal.pause()")
    # The rest as it is, beside the made-up one.
    for path in (ROOT / "benchmarks").glob("*.py"):
        here = Path("benchmarks") / path.name
        if not here.exists():
            here.symlink_to(path)
    command = [sys.executable, "-m", "benchmarks.speed", "--only", "engine,serving", "--out", "out"]
    running = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": f"{Path.cwd()}:{ROOT}"})
    limit_s = time.monotonic() + 60
    while not Path("measuring").exists():
        assert running.poll() is None and time.monotonic() < limit_s
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    assert running.wait(60) == 130
    written = Path("out/report.md").read_text()
    assert "| a | 1 |" in written and "interrupted" in written and "Serving" not in written
