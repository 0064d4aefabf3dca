"""`fiveways evaluate`: a model's calls and any program's, one by one and against each other."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from fiveways import app
from models.accuracy import ReadAccuracy, Tally
from models.evaluation import Evaluation, as_plain
from models.page import render
from reads.fast5 import Fast5Writer
from reads.kmers import decode
from reads.levels import chemistry
from reads.simulate import SimulatedRead, simulate

pytestmark = pytest.mark.usefixtures("mappy")

CODES = np.random.default_rng(11).integers(0, 4, 20_000).astype(np.uint8)


@pytest.fixture(scope="module")
def simulated() -> list[SimulatedRead]:
    levels = chemistry()
    strands = [CODES[start : start + 900] for start in range(0, 16_000, 2000)]
    return [simulate(strand, np.random.default_rng(n), levels) for n, strand in enumerate(strands)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, simulated: list[SimulatedRead]) -> Path:
    """Reads of `ref.fa`, and two files of calls: `true.fastq` of all but the last, `poor.fastq` of all."""
    path = tmp_path_factory.mktemp("reads")
    (path / "ref.fa").write_text(f">chr\n{decode(CODES)}\n")
    with Fast5Writer(path / "reads.fast5") as writer:
        for one in sorted(simulated, key=lambda one: one.read.read_id):
            writer.write(one.read)
    with (path / "true.fastq").open("w") as true, (path / "poor.fastq").open("w") as poor:
        for number, one in enumerate(simulated):
            sequence = one.sequence
            if number < len(simulated) - 1:
                true.write(f"@{one.read.read_id}\n{sequence}\n+\n{'?' * len(sequence)}\n")
            # Every 22nd base is dropped; in later reads, every 15th.
            called = re.sub(f"(.{{{22 - number}}}).", r"\1", sequence)
            poor.write(f"@{one.read.read_id}\n{called}\n+\n{'.' * len(called)}\n")
        poor.write("@another\nACGT\n+\n!!!!\n")
    return path


def run(folder: Path, *arguments: str | Path) -> Result:
    words = ["evaluate", folder / "reads.fast5", "--reference", folder / "ref.fa", *arguments]
    return CliRunner().invoke(app, [*map(str, words)])


def test_a_model_is_evaluated_on_reads(folder: Path, simulated: list[SimulatedRead]) -> None:
    result = run(folder, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    (figures,) = found["evaluations"]
    assert found["comparison"] is None
    assert figures["name"] == "r9.4.1_fast@v3"
    assert figures["summary"]["reads"] == len(simulated)
    assert figures["summary"]["mapped"] >= len(simulated) - 1
    assert 0.75 < figures["summary"]["identity_median"] <= 1.0
    assert figures["speed"]["bases_per_s"] > 0
    assert [read["read_id"] for read in figures["reads"]] == sorted(one.read.read_id for one in simulated)
    for read in figures["reads"]:
        counted = read["matches"] + read["mismatches"] + read["insertions"] + read["deletions"]
        assert counted == read["columns"]


def test_calls_of_another_program_are_evaluated_and_a_missing_one_is_unmapped(folder: Path) -> None:
    result = run(folder, "--calls", folder / "true.fastq", "--json")
    assert result.exit_code == 0, result.stderr
    (figures,) = json.loads(result.stdout)["evaluations"]
    summary = figures["summary"]
    assert (summary["reads"], summary["uncalled"], summary["mapped"]) == (8, 1, 7)
    assert summary["unmapped_share"] == pytest.approx(1 / 8)
    assert summary["identity_median"] == summary["identity_overall"] == 1.0
    assert summary["coverage_overall"] == 1.0
    assert figures["speed"] is None
    (quality,) = figures["qualities"]
    assert quality["reported"] == 30
    assert quality["empirical"] > 39
    assert all(row["wrong_share"] == 0 for row in figures["homopolymers"])
    assert figures["homopolymers"][0]["mean_called"] == 2.0


def test_two_callers_are_compared_read_by_read(folder: Path) -> None:
    page = folder / "page.html"
    result = run(
        folder, "--calls", folder / "true.fastq", "--against", folder / "poor.fastq", "--json", "--html", page
    )
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    comparison = found["comparison"]
    assert comparison["reads"] == 7
    assert (comparison["only_first_mapped"], comparison["only_second_mapped"]) == (0, 1)
    assert comparison["high"] < 0
    identities = {
        one["name"]: {read["read_id"]: read["identity"] for read in one["reads"] if read["identity"]}
        for one in found["evaluations"]
    }
    true, poor = identities[str(folder / "true.fastq")], identities[str(folder / "poor.fastq")]
    expected = np.mean([poor[read_id] - true[read_id] for read_id in true])
    assert comparison["mean_difference"] == pytest.approx(expected)
    assert -0.09 < expected < -0.03
    text = page.read_text()
    assert comparison["words"][1:].replace("+", "&#43;") in text or comparison["words"][1:] in text
    assert text.count("<figure>") == 5
    assert "poor.fastq" in text


def test_tables_are_for_people(folder: Path) -> None:
    result = run(folder, "--calls", folder / "poor.fastq")
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["unmapped", "0.00", "%"] in rows
    assert any(row[:2] == ["deletions", row[1]] and float(row[1]) > 3 for row in rows if len(row) == 3)
    assert any(row[:1] == ["Q13"] for row in rows)


def test_a_read_at_another_rate_costs_itself_alone(
    folder: Path, tmp_path: Path, simulated: list[SimulatedRead]
) -> None:
    with Fast5Writer(tmp_path / "reads.fast5") as writer:
        writer.write(simulated[0].read)
        writer.write(replace(simulated[1].read, sample_rate=5000.0))
    (tmp_path / "ref.fa").write_text((folder / "ref.fa").read_text())
    result = run(tmp_path, "--json")
    assert result.exit_code == 1
    assert "sampled at 5000 Hz, r9.4.1_fast@v3 takes 4000 Hz" in result.stderr
    assert json.loads(result.stdout)["evaluations"][0]["summary"]["reads"] == 1


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--calls", "{folder}/true.fastq", "-m", "null"], 2, "give one of them, and the other as --against"),
        (["--calls", "{folder}/none.bam"], 1, "there is no such file"),
        (["--calls", "{folder}/ref.fa"], 1, "no model"),
        (["-m", "nope"], 1, "no model 'nope'"),
        (["--reference", "{folder}/none.fa"], 1, "there is no such file"),
        (["--reference", "{folder}/reads.fast5"], 1, "no sequence in it: not FASTA"),
        (["--html", "{folder}/none/page.html"], 2, "there is no folder"),
        (["--device", "cuda:77"], 1, "is not there"),
    ],
)
def test_bad_input_is_one_line_and_no_output(
    folder: Path, arguments: list[str], status: int, message: str
) -> None:
    result = run(folder, *(word.format(folder=folder) for word in arguments))
    assert message in result.stderr
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr.count("\n") == 1


def test_a_device_that_fails_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise RuntimeError("CUDA error: unspecified launch failure\nCompile with ... for more")

    monkeypatch.setattr("models.basecaller.Basecaller.score", gone)
    result = run(folder)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "fiveways evaluate: device auto failed: CUDA error: unspecified launch failure\n"
    )


class Page(HTMLParser):
    """The addresses that a page would load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]


def test_the_page_needs_nothing_else_and_escapes_names() -> None:
    one = Evaluation("<b>", (ReadAccuracy("r", True, 10, 10, 9, 1, 0, 0, 10, 12.0),), Tally.empty())
    html = render([one], None, {"reads": "<i>"})
    assert "<b>" not in html
    assert "<i>" not in html
    assert all(address.startswith("#") for address in Page(html).addresses)


def test_figures_that_could_not_be_told_are_null() -> None:
    plain = as_plain([Evaluation("a", (ReadAccuracy("r"),), Tally.empty())], None)
    assert plain["evaluations"][0]["summary"]["identity_median"] is None
    assert json.loads(json.dumps(plain, allow_nan=False))["evaluations"][0]["worst_quality_gap"] is None
    assert render([Evaluation("a", (), Tally.empty())], None, {}).count("<figure>") == 0
