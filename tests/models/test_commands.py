"""`fiveways train levels` on simulated reads, from the command line."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
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
