from benchmarks.plots import write_plots
from benchmarks.speed import conditions, report

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
SERVING = {
    "figures": {
        "null_arm": {"8000": {"null": 1e6, "sink": 2e6}, "100000": {"null": 2e6, "sink": 3e6}},
        "peers": {name: {"bases_per_s": 1e3, "p99_ms": 5.0} for name in ("fiveways", "fastapi")},
    }
}


def test_the_report_has_every_table_the_aims_and_the_plots():
    text = report({"engine": ENGINE}, ["engine.svg"])
    assert "| native | 2.5 |" in text
    assert "| rate | 2.5 | >= 2 | yes |" in text
    assert "![engine](engine.svg)" in text


def test_a_benchmark_that_failed_is_said_to_have_failed():
    assert "## Serving\n\nFailed" in report({"engine": ENGINE, "serving": None}, [])


def test_figures_of_a_busy_machine_or_a_quick_run_are_marked():
    assert "busy" not in conditions(MACHINE, quick=False)
    assert "busy" in conditions(MACHINE | {"load": 3.0}, quick=False)
    assert "measures nothing" in conditions(MACHINE, quick=True)


def test_plots_are_made_of_what_was_measured_and_of_nothing_else(tmp_path):
    names = write_plots({"engine": ENGINE, "serving": SERVING}, tmp_path)
    assert names == ["engine.svg", "null_arm.svg", "peers.svg"]
    assert all((tmp_path / name).stat().st_size > 1000 for name in names)
    assert write_plots({"serving": {"figures": {}}}, tmp_path) == []
