"""`fiveways train model` on simulated reads: what it learns from, what it leaves, and how it is stopped."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from fiveways import app
from models.zoo import DEFAULT, ZOO, load
from reads.fast5 import Fast5Writer
from reads.kmers import decode
from reads.levels import chemistry
from reads.simulate import Simulation, simulated_read

pytestmark = pytest.mark.usefixtures("mappy")

CODES = np.random.default_rng(11).integers(0, 4, 20_000).astype(np.uint8)
QUICK = ("--steps", "3", "--batch", "4", "--chunk-samples", "500", "--device", "cpu")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["train", "model", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a network as small as they come."""
    made = tmp_path / "mine"
    made.mkdir()
    text = (ZOO / DEFAULT / "config.toml").read_text()
    (made / "config.toml").write_text(text.replace("features = 96", "features = 8"))
    return made


@pytest.fixture(scope="module")
def reads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six reads of `ref.fa`, and a teacher's calls of them, the last one of low quality."""
    path = tmp_path_factory.mktemp("reads")
    (path / "ref.fa").write_text(f">chr\n{decode(CODES)}\n")
    (path / "other.fa").write_text(f">chr\n{decode(np.random.default_rng(5).permutation(CODES))}\n")
    simulation = Simulation(4, chemistry(), {"chr": CODES}, mean_bases=1300, sd_bases=0.0)
    made = [simulated_read(simulation, number) for number in range(6)]
    with Fast5Writer(path / "reads.fast5") as writer, (path / "teacher.fastq").open("w") as calls:
        for number, one in enumerate(made):
            writer.write(one.read)
            quality = "%" if number == 5 else "5"
            calls.write(f"@{one.read.read_id}\n{one.sequence}\n+\n{quality * len(one.sequence)}\n")
    return path


def test_a_simulated_training_leaves_weights_a_log_and_its_plot(folder: Path) -> None:
    result = run(folder, *QUICK, "--json")
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["finished"], summary["step"]) == (True, 3)
    assert summary["best"]["reads"] == 20
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint.pt",
        "config.toml",
        "train.jsonl",
        "train.svg",
        "weights.safetensors",
    ]
    assert "held-out identity" in (folder / "train.svg").read_text()
    assert load(str(folder), "cpu").name == "mine"
    (judged,) = map(json.loads, (folder / "train.jsonl").read_text().splitlines())
    assert judged["kind"] == "evaluation"
    assert "step 3, 0.00 h: held-out identity" in result.stderr


def test_reads_are_learned_from_by_reference_by_teacher_and_by_their_own_calls(
    folder: Path, reads: Path
) -> None:
    result = run(
        folder, *QUICK, "--mapped", f"{reads / 'reads.fast5'}={reads / 'ref.fa'}", "--holdout", 0.3,
        "--unlabelled", reads / "reads.fast5", "--teacher-calls", reads / "teacher.fastq",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    said = result.stderr.splitlines()
    found = re.search(r"(\d) reads to learn from, (\d) held out; (\d) do not map well enough", said[0])
    assert found
    learned, held, unmapped = map(int, found.groups())
    assert learned + held + unmapped == 6
    assert held > 0
    taught = re.search(
        r"(\d) reads to learn from; (\d) have no call in .*teacher.fastq that is sure", said[1]
    )
    assert taught
    assert 0 < int(taught[1]) <= 5  # one call is of low quality, and held-out reads are not learned from
    assert int(taught[1]) + int(taught[2]) == 6
    assert f" of {held} mapped" in said[2]
    again = folder.parent / "again"
    shutil.copytree(folder, again, ignore=lambda *_: ["checkpoint.pt", "weights.safetensors"])
    result = run(again, *QUICK, "--unlabelled", reads / "reads.fast5", "--least-quality", 3)
    assert result.exit_code == 0, result.stderr
    assert "reads to learn from; " in result.stderr
    assert "were called below Q3" in result.stderr


def test_a_training_goes_on_where_it_was_left_and_no_line_of_its_log_is_twice(folder: Path) -> None:
    assert run(folder, *QUICK).exit_code == 0
    refused = run(folder, *QUICK)
    assert refused.exit_code == 1
    assert "--resume goes on with it" in refused.stderr
    with (folder / "train.jsonl").open("a") as log:
        log.write('{"kind": "progress", "step": 50, "trained_s": 1.0, "loss": 1.0}\n{"cut')
    result = run(folder, *QUICK, "--steps", 5, "--resume", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["step"] == 5
    steps = [json.loads(line)["step"] for line in (folder / "train.jsonl").read_text().splitlines()]
    assert steps == [3, 5]


def test_a_model_can_be_trained_further_but_never_in_its_own_folder(folder: Path) -> None:
    assert run(folder, *QUICK).exit_code == 0
    (folder / "checkpoint.pt").unlink()
    kept = (folder / "weights.safetensors").read_bytes()
    refused = run(folder, *QUICK)
    assert "there are weights here already" in refused.stderr
    other = folder.parent / "other"
    other.mkdir()
    shutil.copy(folder / "config.toml", other)
    assert run(other, *QUICK, "--start-from", folder).exit_code == 0
    assert (folder / "weights.safetensors").read_bytes() == kept


def test_ctrl_c_saves_a_checkpoint_and_exits_130(folder: Path) -> None:
    command = [sys.executable, "-c", "import fiveways; fiveways.main()", "train", "model", str(folder)]
    child = subprocess.Popen(
        [*command, *QUICK, "--steps", "1000000", "--evaluate-minutes", "0.01"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        while not (folder / "train.svg").exists():  # drawn at the first evaluation
            assert child.poll() is None
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=60)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 130, errors
    assert f"--resume goes on from {folder / 'checkpoint.pt'}" in errors
    assert (folder / "checkpoint.pt").exists()
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "give --hours or --steps"),
        (["--steps", "1", "--hours", "1"], 2, "give --hours or --steps"),
        (["--steps", "1", "--mapped", "reads"], 2, "'reads' is not READS=REFERENCE"),
        (["--steps", "1", "--teacher-calls", "x.bam"], 2, "name them with --unlabelled"),
        (["--steps", "1", "--resume"], 1, "there is no such checkpoint"),
        (["--steps", "1", "--device", "cuda:77"], 1, "is not there"),
        (["--steps", "1", "--chemistry", "r10"], 1, "no chemistry 'r10'"),
        (["--steps", "1", "--start-from", DEFAULT], 1, "weights of another architecture"),
        (["--steps", "1", "--mapped", "{reads}/none=x.fa"], 1, "there is no such file"),
        (["--steps", "1", "--mapped", "{reads}/reads.fast5={reads}/reads.fast5"], 1, "not FASTA"),
        (["--steps", "1", "--mapped", "{reads}/reads.fast5={reads}/other.fa"], 1, "maps well enough"),
        (
            ["--steps", "1", "--unlabelled", "{reads}/reads.fast5", "--teacher-calls", "{reads}/ref.fa"],
            1,
            "calls are read from files",
        ),
    ],
)
def test_bad_input_is_one_line_and_nothing_half_written(
    folder: Path, reads: Path, arguments: list[str], status: int, message: str
) -> None:
    result = run(folder, *(word.format(reads=reads) for word in arguments))
    assert message in result.stderr
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["config.toml"]


def test_a_folder_without_a_config_is_one_line(tmp_path: Path) -> None:
    result = run(tmp_path, "--steps", 1)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "config.toml: No such file" in result.stderr
