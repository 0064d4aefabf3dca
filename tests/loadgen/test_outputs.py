"""What the files promise: our figures beside locust's, whole, and never in a page of another run."""

import csv
import json
import os
from pathlib import Path as File

from measured import HOST, an_observation

from loadgen.charts import with_charts
from loadgen.live import Live
from loadgen.outputs import HistoryFile, as_json, extend_html, json_file_beside, write_csv
from loadgen.plan import Block


def a_run() -> Live:
    live = Live(now_s=0.0)
    block = an_observation(Block(0, 0, HOST, "model", 0.0))
    live.add(block.total)
    live.note(block)
    live.tick(now_s=4.0)
    return live


def rows(file: File) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_totals_are_exact_and_means_have_their_units(tmp_path: File) -> None:
    live = a_run()
    write_csv(live, str(tmp_path / "run"))
    whole, host = rows(tmp_path / "run_bases_stats.csv")
    assert (whole["path"], int(whole["bases"])) == ("all", live.total.bases)
    assert float(whole["bases_per_s"]) == live.total.bases / 4.0
    assert (host["path"], host["arm"], host["void"]) == ("host", "model", "0")
    (block,) = rows(tmp_path / "run_bases_blocks.csv")
    assert float(block["bases_per_s"]) == live.blocks()[0]["bases_per_s"]
    assert {"queue_ms", "compute_ms", "network_ms", "p99_ms", "request_mb_per_s"} <= set(block)


def test_the_history_grows_a_row_at_a_time_and_begins_anew_with_a_process(tmp_path: File) -> None:
    for _ in range(2):
        history = HistoryFile(str(tmp_path / "run"))
        history.append(1.5, {"bases_per_s": 10.0, "p50_ms": 1.0})
        history.append(3.5, {"bases_per_s": 20.0})
        assert [
            (row["timestamp"], row["bases_per_s"]) for row in rows(tmp_path / "run_bases_history.csv")
        ] == [
            ("1.5", "10.0"),
            ("3.5", "20.0"),
        ]


def test_json_is_one_line_and_has_everything() -> None:
    line = as_json(a_run())
    assert line.count(b"\n") == 1
    document = json.loads(line)
    assert document["totals"]["bases"] == a_run().total.bases
    assert [row["path"] for row in document["paths"]] == ["host"]
    assert document["history"][0]["end_s"] == 4.0


def test_our_json_lies_beside_locusts() -> None:
    assert json_file_beside(File("out/run.json")) == File("out/run_bases.json")
    assert json_file_beside(File("out/run")) == File("out/run_bases.json")


def test_charts_are_put_into_the_page_of_this_run_alone(tmp_path: File) -> None:
    page = tmp_path / "report.html"
    extend_html(a_run(), page, since_s=0.0)
    assert not page.exists()
    page.write_text("<html><body>locust</body></html>")
    os.utime(page, (100.0, 100.0))
    extend_html(a_run(), page, since_s=200.0)
    assert page.read_text() == "<html><body>locust</body></html>"
    extend_html(a_run(), page, since_s=50.0)
    assert page.read_text().startswith("<html><body>locust<style>")
    assert page.read_text().endswith("</script></body></html>")


def test_what_a_run_says_does_not_end_the_script() -> None:
    page = with_charts("<body></body>", {"notes": ["</script><script>alert(1)</script>"]})
    assert page.count("</script>") == 1
    assert "<\\/script>" in page


def test_a_page_that_is_live_asks_for_its_figures() -> None:
    page = with_charts("<body></body>", None, figures_url="/base/bases/figures", tab="bases")
    assert '"figures_url":"/base/bases/figures"' in page
