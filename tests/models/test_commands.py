"""`fiveways evaluate` and `train levels` on simulated reads, from the command line."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from fiveways import app
from reads.fast5 import Fast5Writer
from reads.kmers import decode
from reads.levels import Levels
from reads.simulate import chemistry, simulate_reads

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


@pytest.mark.usefixtures("mappy")
def test_evaluate_reports_identity_of_mapped_reads(folder: Path, tmp_path: Path) -> None:
    ids, calls = tmp_path / "ids.txt", tmp_path / "calls.fastq"
    run("call", folder / "reads.fast5", "-o", calls)
    ids.write_text("\n".join(line.split()[0][1:] for line in calls.read_text().splitlines()[::4]))
    result = run(
        "evaluate", folder / "reads.fast5", "--reference", folder / "ref.fa", "--read-ids", ids, "--json"
    )
    assert result.exit_code == 0, result.stderr
    figures = json.loads(result.stdout)["r9.4.1_fast@v1"]
    assert figures["summary"]["reads"] == figures["summary"]["mapped"] == 7
    assert 0.8 < figures["summary"]["identity_median"] <= 1.0
    for read in figures["reads"]:
        counted = read["matches"] + read["mismatches"] + read["insertions"] + read["deletions"]
        assert counted == read["columns"]
    table = run("evaluate", folder / "reads.fast5", "--reference", folder / "ref.fa", "--read-ids", ids)
    assert f"{figures['summary']['identity_median']:.5g}" in table.stdout


@pytest.mark.usefixtures("mappy")
def test_levels_are_found_again_from_reads_simulated_with_them(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "levels.npz"
    with Fast5Writer(tmp_path / "reads.fast5") as writer:
        for one in itertools.islice(simulate_reads(seed=5, mean_bases=6000, contigs={"chr": CODES}), 12):
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


@pytest.mark.usefixtures("mappy")
def test_a_reference_that_is_none_is_one_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "ref.fa").write_text("no\n")
    result = run("evaluate", folder / "reads.fast5", "--reference", tmp_path / "ref.fa")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "no sequence in it" in result.stderr
