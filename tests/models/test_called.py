"""Calls are read from files of any caller, as the strand passed the pore, or one line says why not."""

from pathlib import Path

import pysam
import pytest

from models.called import Called, holds_calls, read_calls
from reads.errors import ReadFileError


def test_fastq_plain_and_gzipped(tmp_path: Path) -> None:
    text = "@a\tqs:f:9\nACGT\n+\n+5?I\n@b\nGG\n+\n!!\n"
    plain, packed = tmp_path / "calls.fastq", tmp_path / "calls.fq.gz"
    plain.write_text(text)
    with pysam.BGZFile(str(packed), "wb") as file:
        file.write(text.encode())
    expected = [Called("a", "ACGT", "+5?I"), Called("b", "GG", "!!")]
    assert list(read_calls(plain)) == list(read_calls(packed)) == expected


def test_bam_records_are_turned_back_and_parts_of_reads_passed_over(tmp_path: Path) -> None:
    header = {"HD": {"VN": "1.6"}, "SQ": [{"SN": "chr", "LN": 100}]}
    path = tmp_path / "calls.bam"
    with pysam.AlignmentFile(str(path), "wb", header=header) as file:
        for name, flag in (("forward", 0), ("turned", 16), ("turned", 2064), ("forward", 256), ("none", 4)):
            record = pysam.AlignedSegment(file.header)
            record.query_name, record.flag = name, flag
            if name != "none":
                record.query_sequence = "AACG"
                record.query_qualities = pysam.qualitystring_to_array("!+5?")
                record.reference_id, record.reference_start, record.cigarstring = 0, 3, "4M"
            file.write(record)
    assert list(read_calls(path)) == [
        Called("forward", "AACG", "!+5?"),
        Called("turned", "CGTT", "?5+!"),
        Called("none", "", ""),
    ]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("calls.txt", b"@a\nA\n+\n!\n", "calls are read from files that end in .fastq"),
        ("calls.fastq", b"", "no call in it"),
        ("calls.fastq", b"@a\nAC\n+\n!!\n@a\nAC\n+\n!!\n", "read a is called twice"),
        ("calls.bam", b"not a bam", "cannot be read as calls"),
        ("calls.fastq", b"@a\nACGT\n+\n!!\n", "cannot be read as calls"),
    ],
)
def test_what_is_no_file_of_calls_is_named(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ReadFileError, match=rf"{name}: .*{why}"):
        list(read_calls(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReadFileError, match="there is no such file"):
        list(read_calls(tmp_path / "calls.bam"))


def test_names_tell_calls_from_models() -> None:
    assert holds_calls(Path("x.FASTQ.gz"))
    assert holds_calls(Path("x.bam"))
    assert not holds_calls(Path("r9.4.1_fast@v3"))
