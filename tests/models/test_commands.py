"""`fiveways call` and `train levels` on simulated reads, from the command line."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pysam
import pytest
from typer.testing import CliRunner, Result

from fiveways import app
from reads.fast5 import Fast5Writer
from reads.kmers import decode
from reads.levels import Levels, chemistry
from reads.simulate import simulate_reads

CODES = np.random.default_rng(11).integers(0, 4, 20_000).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with eight reads of `ref.fa`, one of them sampled at another rate."""
    path = tmp_path_factory.mktemp("reads")
    (path / "ref.fa").write_text(f">chr\n{decode(CODES)}\n")
    simulated = itertools.islice(simulate_reads(seed=4, mean_bases=2500, contigs={"chr": CODES}), 8)
    with Fast5Writer(path / "reads.fast5") as writer:
        for number, one in enumerate(simulated):
            rate = 5000.0 if number == 7 else one.read.sample_rate
            writer.write(replace(one.read, sample_rate=rate))
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_calls_are_written_and_a_read_that_cannot_be_called_costs_itself_alone(
    folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "calls.bam"
    result = run("call", folder / "reads.fast5", "-o", output)
    assert result.exit_code == 1
    assert "sampled at 5000 Hz, r9.4.1_fast@v1 takes 4000 Hz" in result.stderr
    with pysam.AlignmentFile(str(output), check_sq=False) as calls:
        records = list(calls)
    assert len(records) == 7
    assert all(len(record.query_sequence or "") > 50 for record in records)
    summary = json.loads(result.stderr.splitlines()[-1].split("}")[0] + "}")
    assert summary["reads"] == 7
    assert summary["not_called"] == 1
    assert summary["bases"] == sum(len(record.query_sequence or "") for record in records)


def test_reads_can_be_chosen_by_id(folder: Path, tmp_path: Path) -> None:
    all_calls = tmp_path / "all.fastq"
    run("call", folder / "reads.fast5", "-o", all_calls)
    chosen = all_calls.read_text().splitlines()[0].split()[0].removeprefix("@")
    (tmp_path / "ids.txt").write_text(chosen + "\n")
    result = run(
        "call", folder / "reads.fast5", "-o", tmp_path / "one.fastq", "--read-ids", tmp_path / "ids.txt"
    )
    assert result.exit_code == 0
    assert (tmp_path / "one.fastq").read_text().splitlines() == all_calls.read_text().splitlines()[:4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.fast5"], "there is no such file or folder"),
        (["{reads}", "-m", "nope"], "no model 'nope'"),
        (["{reads}", "-o", "calls.txt"], "calls are written to files that end in .fastq, .sam, .bam"),
        (["{reads}", "--device", "cuda:77"], "is not there"),
    ],
)
def test_wrong_use_is_one_line_and_exit_status_2(folder: Path, arguments: list[str], message: str) -> None:
    result = run("call", *(word.format(reads=folder / "reads.fast5") for word in arguments))
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.usefixtures("mappy")
def test_levels_are_found_again_from_reads_simulated_with_them(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "levels.npz"
    with Fast5Writer(tmp_path / "reads.fast5") as writer:
        for one in itertools.islice(simulate_reads(seed=5, mean_bases=6000, contigs={"chr": CODES}), 8):
            writer.write(one.read)
    result = run("train", "levels", tmp_path / "reads.fast5", "--reference", folder / "ref.fa", "-o", output)
    assert result.exit_code == 0, result.stderr
    truth, found = chemistry(), Levels.load(output)
    seen = np.abs(found.means - truth.means)
    assert np.median(seen) < 0.05
    assert np.corrcoef(found.means, truth.means)[0, 1] > 0.99
    noise = np.hypot(found.white_sd, found.slow_sd)
    assert noise == pytest.approx(np.hypot(truth.white_sd, truth.slow_sd), rel=0.25)
    days = np.arange(1, len(truth.dwell) + 1)
    assert (found.dwell * days).sum() == pytest.approx((truth.dwell * days).sum(), rel=0.15)
