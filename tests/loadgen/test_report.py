"""The report: a page that needs nothing else, tables for spreadsheets, and a table for terminals."""

import csv
import io
import re
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from measured import CONTROL, a_run
from rich.console import Console

from loadgen.analysis import analyse
from loadgen.gates import Gate
from loadgen.measure import P50, RETRANSMITS
from loadgen.page import format_beside, format_factor, format_number
from loadgen.report import other_differences, render, summarise, verdict_table, write_report
from loadgen.results import Run
from loadgen.tables import settings

VOID_ELEMENTS = {"meta", "br", "use", "path"}


class Page(HTMLParser):
    """The text of a page, the addresses it names, and the elements that were opened and never closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.addresses: list[str] = []
        self.ids: set[str] = set()
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.unclosed = list(self._open)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        named = dict(attrs)
        self.addresses += [named[name] or "" for name in ("href", "src") if name in named]
        self.ids.add(named.get("id") or "")
        if tag not in VOID_ELEMENTS:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID_ELEMENTS:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def run() -> Run:
    run = a_run({"vxlan/podip": 0.95, "routed/podip": 1.0})
    return replace(run, gates=(Gate("warm-up, model arm", False, "<never> steady"),))


@pytest.fixture(scope="module")
def page(run: Run) -> Page:
    return Page(render({"monday": run}))


def test_the_page_needs_no_script_and_nothing_from_elsewhere(page: Page) -> None:
    assert "script" not in page.elements
    assert "link" not in page.elements
    assert all(address.startswith("#") for address in page.addresses)
    assert {address[1:] for address in page.addresses} <= page.ids
    assert page.unclosed == []


def test_verdicts_come_first(page: Page) -> None:
    verdict, picture = page.text.index("slower by"), page.elements.index("svg")
    assert "slower by" in page.text[:2500]
    assert page.elements.index("table") < picture
    assert verdict < page.text.index("Headroom")


def test_every_part_of_the_report_is_there(page: Page) -> None:
    for part in (
        "Rounds over time, model arm",
        "Latency, null arm",
        "Where the time of an answer goes, model arm",
        "CPU per megabase, null arm",
        "Ceilings",
        "headroom = samples/s of the null arm ÷ samples/s of the model arm",
        "limit of n GPUs = min(n × ceiling, line limit)",
        "Kernel softirq CPU",
        "TCP segments sent again",
        "n/a by construction",
        "plan.seed",
    ):
        assert part in page.text
    assert page.elements.count("svg") == 11


def test_it_says_how_much_noise_there_was_and_what_that_lets_it_find(page: Page, run: Run) -> None:
    model, _ = analyse(run).noises
    said = re.search(
        r"Model arm: a block scatters by ([\d.]+) %.*? find a difference of ([\d.]+) %", page.text
    )
    assert said
    assert float(said[1]) == pytest.approx(100 * model.block_sd, rel=0.1)
    assert float(said[2]) == pytest.approx(100 * model.finds, rel=0.1)


def test_every_table_says_in_which_file_it_is(page: Page, run: Run, tmp_path: Path) -> None:
    write_report(run, analyse(run), tmp_path)
    named = set(re.findall(r"\w+\.csv", page.text))
    # The blocks are in pictures, and the noise in sentences.
    assert {file.name for file in tmp_path.glob("*.csv")} - named == {"blocks.csv", "noise.csv"}
    assert named <= {file.name for file in tmp_path.glob("*.csv")}


def test_what_else_differs_is_told_in_lines_for_a_terminal(run: Run) -> None:
    lines = list(other_differences(analyse(run), "model"))
    assert any(line.startswith("vxlan/podip: Median latency slower by") for line in lines)
    assert not any("Bases per second" in line for line in lines)


def test_failed_gates_are_told_at_the_top_and_their_text_is_escaped(page: Page) -> None:
    assert "1 gate failed" in page.text
    assert "<never> steady" in page.text


def test_conflicting_sources_are_shown_side_by_side(page: Page) -> None:
    assert "Sources disagree on MTU of vxlan/podip: 1450 (netlink, route); 1500 (netlink, link)." in page.text


def test_a_lab_is_called_a_lab(page: Page) -> None:
    assert "Lab monday" in page.text
    assert "not products" in page.text


def test_several_runs_share_a_page_and_it_says_what_may_be_compared(run: Run) -> None:
    page = Page(render({"monday": run, "tuesday": a_run({"vxlan/podip": 0.9}, seed=2)}))
    assert "may be held side by side" in page.text
    assert "Nothing is pooled" in page.text
    assert page.text.index("All runs") < page.text.index("Lab monday") < page.text.index("Lab tuesday")
    assert page.unclosed == []
    assert len(re.findall("Lab tuesday", page.text)) == 1


def test_a_run_without_blocks_has_a_page_too(run: Run) -> None:
    page = Page(render({"empty": replace(run, observations=())}))
    assert "svg" not in page.elements
    assert "fewer than two rounds count" in page.text


@pytest.mark.parametrize(
    ("speeds", "words"),
    [
        ({"a": 0.9, "b": 1.1}, "Of 2 paths, 1 is faster (b); 1 is slower (a)."),
        ({"a": 1.0}, "Of 1 path, 1 is equivalent to host networking (a)."),
        (
            {"a": 0.9995, "b": 1.02, "c": 1.0},
            "Of 3 paths, 2 are equivalent to host networking (a, c); 1 is faster (b).",
        ),
        ({"a": 1.0, CONTROL.name: 1.2}, "Host networking differed from itself, so that no verdict is given."),
    ],
)
def test_a_sentence_says_what_the_verdicts_come_to(speeds: Mapping[str, float], words: str) -> None:
    assert summarise(analyse(a_run(speeds, noise=0.001)).comparisons, "model") == words


def test_tables_for_spreadsheets_have_a_line_for_each_row(run: Run, tmp_path: Path) -> None:
    results = analyse(run)
    assert write_report(run, results, tmp_path) == tmp_path / "report.html"
    tables = {file.stem: list(csv.DictReader(file.open(encoding="utf-8"))) for file in tmp_path.glob("*.csv")}
    assert {name: len(rows) for name, rows in tables.items()} == {
        "absent": 1,
        "addresses": 4,
        "blocks": 64,
        "differences": 12,
        "expected_limits": 48,
        "facts": 3,
        "gates": len(results.gates),
        "headroom": 4,
        "line_limits": 4,
        "noise": 2,
        "paths": 8,
        "settings": len(tuple(settings(run))),
        "verdicts": 30,
    }
    assert {row["measure"] for row in tables["differences"]} == {
        "softirq_s_per_megabase",
        "retransmits_percent",
    }
    first = tables["verdicts"][0]
    assert (first["measure"], first["arm"], first["path"]) == ("bases_per_s", "model", "vxlan/podip")
    assert float(first["ratio"]) == results.comparisons[0].verdict.ratio


def test_the_table_for_a_terminal_has_every_verdict_on_one_line(run: Run) -> None:
    printed = io.StringIO()
    Console(width=120, file=printed).print(verdict_table(run, analyse(run), "model"))
    lines = printed.getvalue().splitlines()
    (slow,) = (line for line in lines if "vxlan/podip" in line)
    assert "slower by 5." in slow
    assert any(CONTROL.name in line for line in lines)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (1234567.8, "1,234,568"),
        (0.012345, "0.0123"),
        (9.4, "9.40"),
        (99.96, "100"),
        (0.0, "0"),
    ],
)
def test_numbers_are_written_for_people(value: float | None, text: str) -> None:
    assert format_number(value) == text


def test_a_factor_that_nothing_bounds_is_infinite() -> None:
    assert (format_factor(float("inf")), format_factor(49.96)) == ("∞", "50×")


def test_ratios_and_differences_stand_beside_their_intervals(run: Run) -> None:
    results = analyse(run)
    ratio = results.of(P50, "model")[0]
    low, high = ratio.verdict.low, ratio.verdict.high
    assert format_beside(ratio) == f"{ratio.verdict.ratio:.3f}× [{low:.3f}, {high:.3f}]"
    none_lost = results.contrasts_of(RETRANSMITS, "model")[0]
    assert re.fullmatch(r"\+0 \[−0\.\d+, \+0\.\d+\]", format_beside(none_lost))


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_wider_than_the_screen(width: int, run: Run, tmp_path: Path, chromium: str) -> None:
    # A frame, because a headless window is never narrower than 500 pixels.
    page = tmp_path / "report.html"
    page.write_text(render({"monday": run}), encoding="utf-8")
    probe = tmp_path / "probe.html"
    probe.write_text(
        f"<iframe src=report.html width={width} height=800 style='border:0'></iframe><script>onload = () => "
        "{ const root = document.querySelector('iframe').contentDocument.documentElement;"
        " document.title = `${root.scrollWidth} of ${root.clientWidth}` }</script>"
    )
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", f"file://{probe}"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    match = re.search(r"<title>(\d+) of (\d+)</title>", said)
    assert match
    assert int(match[1]) <= int(match[2])


def test_where_no_path_is_resolved_it_is_said_once() -> None:
    results = analyse(a_run({"a": 1.0, "b": 1.0}, noise=0.1))
    assert summarise(results.comparisons, "model") == "None of the 2 paths is resolved."
