"""`fiveways simulate` writes reads that can be read back, and the truth beside them."""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fiveways import app
from reads.fasta import read_fasta
from reads.files import open_reads
from reads.kmers import decode


def run(*arguments: str | Path):
    return CliRunner().invoke(app, ["simulate", *map(str, arguments)])


@pytest.mark.parametrize("suffix", ["fast5", "pod5"])
def test_reads_and_truth_come_back(tmp_path: Path, suffix: str) -> None:
    reference = tmp_path / "ref.fa"
    reference.write_text(">chr some words\n" + "ACGTTGCAAG" * 60 + "\n")
    output = tmp_path / f"out.{suffix}"
    result = run(reference, "-o", output, "-n", 5, "--mean-bases", 300)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{output}\n"
    reads = {read.read_id: read for read in open_reads([output])}
    truth = read_fasta(tmp_path / f"out.{suffix}.truth.fasta")
    assert len(reads) == 5
    assert set(truth) == set(reads)
    with (tmp_path / f"out.{suffix}.truth.tsv").open() as table:
        for row in csv.DictReader(table, delimiter="\t"):
            starts = [int(start) for start in row["base_starts"].split(",")]
            assert row["contig"] == "chr"
            assert int(row["end"]) - int(row["start"]) == len(starts) == len(truth[row["read_id"]])
            assert int(row["samples"]) == len(reads[row["read_id"]].signal)
            assert sorted(starts) == starts
            if row["strand"] == "+":
                strand = ("ACGTTGCAAG" * 60)[int(row["start"]) : int(row["end"])]
                assert decode(truth[row["read_id"]]) == strand


@pytest.mark.parametrize("suffix", ["fast5", "pod5"])
def test_processes_change_no_read(tmp_path: Path, suffix: str) -> None:
    outputs = [tmp_path / f"{processes}.{suffix}" for processes in (1, 2)]
    for processes, output in enumerate(outputs, 1):
        result = run("-o", output, "-n", 4, "--mean-bases", 60_000, "--processes", processes, "--json")
        assert result.exit_code == 0, result.output
        summary = json.loads(result.stdout)
    assert (summary["count"], summary["reads"]) == (4, str(outputs[1]))
    one, two = (list(open_reads([output])) for output in outputs)
    assert [read.read_id for read in one] == [read.read_id for read in two]
    assert all(np.array_equal(a.signal, b.signal) for a, b in zip(one, two, strict=True))
    for kind in ("fasta", "tsv"):
        texts = [output.with_name(f"{output.name}.truth.{kind}").read_text() for output in outputs]
        assert texts[0] == texts[1]
    assert summary["samples"] == sum(len(read.signal) for read in two)


def test_what_is_stopped_leaves_nothing_and_exits_130(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "import fiveways; fiveways.main()",
        "simulate",
        "-o",
        tmp_path / "out.fast5",
        "-n",
        "100000",
    ]
    child = subprocess.Popen([*map(str, command), "--processes", "2"], stderr=subprocess.PIPE)
    try:
        while not list(tmp_path.glob(".out.fast5.truth.tsv*")):
            assert child.poll() is None
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == 130
    finally:
        child.kill()
        child.communicate()
    assert list(tmp_path.iterdir()) == []


def test_a_chemistry_without_levels_says_what_there_is(tmp_path: Path) -> None:
    result = run("-o", tmp_path / "out.pod5", "--chemistry", "r10.4.1_5khz")
    assert result.exit_code == 2
    assert result.stderr.startswith("fiveways simulate: no chemistry 'r10.4.1_5khz'; there is r9.4.1: ")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_missing_is_one_line(tmp_path: Path) -> None:
    result = run("-o", tmp_path / "none" / "out.pod5", "-n", 1)
    assert result.exit_code == 2
    assert "there is no folder" in result.stderr
    assert result.stderr.count("\n") == 1


def test_help_needs_no_library_of_numbers() -> None:
    script = (
        "import sys, fiveways, reads.simulate\n"
        "print([name for name in ('numba', 'scipy', 'torch') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_a_wrong_suffix_writes_nothing(tmp_path: Path) -> None:
    result = run("-o", tmp_path / "out.bam")
    assert result.exit_code == 2
    assert "reads are written as .fast5 or .pod5" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"not a reference\n", b">chr\nAC?T\n", b"\x1f\x8b\x00broken"])
def test_a_reference_that_is_not_fasta_is_one_line(tmp_path: Path, content: bytes) -> None:
    reference = tmp_path / "ref.fa"
    reference.write_bytes(content)
    result = run(reference, "-o", tmp_path / "out.fast5")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert str(reference) in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["ref.fa"]


@pytest.mark.parametrize("suffix", ["fast5", "pod5"])
def test_a_place_that_takes_no_file_is_one_line_that_names_it(suffix: str) -> None:
    result = run("-o", f"/proc/out.{suffix}", "-n", 1)
    assert result.exit_code != 0
    (line,) = result.stderr.splitlines()
    assert line == f"fiveways simulate: /proc/out.{suffix} cannot be written: No such file or directory"
