"""`fiveways simulate` writes reads that can be read back, and the truth beside them."""

import csv
from pathlib import Path

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
