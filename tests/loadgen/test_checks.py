"""What checks promise: a wrong sequence is told from a right one, and it is said which ones were looked
at."""

import gzip
from pathlib import Path

import pytest

from loadgen.checks import Checks, missing_reads, read_expected
from loadgen.errors import CallError, CheckError

FASTQ = "@a\nACGT\n+\n5555\n@b model=x\nGGG\n+\n555\n"


def test_the_first_answer_for_a_read_is_what_later_ones_are_held_against() -> None:
    checks = Checks(1.0, {}, "seed")
    assert checks.check("", "a", "ACGT") is False
    assert checks.check("", "b", "GG") is False
    assert checks.check("", "a", "ACGT") is True
    with pytest.raises(CallError, match="not that of the first answer"):
        checks.check("", "a", "ACGA")


def test_each_model_has_its_own_answers() -> None:
    checks = Checks(1.0, {}, "seed")
    assert checks.check("tiny", "a", "ACGT") is False
    assert checks.check("null", "a", "AAAA") is False
    assert checks.check("null", "a", "AAAA") is True


@pytest.mark.parametrize("packed", [False, True])
def test_answers_are_held_against_the_calls_of_a_file(tmp_path: Path, *, packed: bool) -> None:
    file = tmp_path / "calls.fastq"
    file.write_bytes(gzip.compress(FASTQ.encode()) if packed else FASTQ.encode())
    checks = Checks(1.0, read_expected(file), "seed")
    assert checks.check("", "a", "ACGT") is True
    with pytest.raises(CallError, match="not that of the expected call"):
        checks.check("", "b", "GGA")
    assert checks.check("null", "b", "AAA") is False, "nobody expects that of the null arm"


def test_a_share_of_the_answers_is_looked_at() -> None:
    checks = Checks(0.25, {"a": read_digest("ACGT")}, "seed")
    looked_at = sum(checks.check("", "a", "ACGT") for _ in range(2000))
    assert 400 < looked_at < 600


def read_digest(sequence: str) -> bytes:
    first = Checks(1.0, {}, "seed")
    first.check("", "x", sequence)
    return next(iter(first._first.values()))


@pytest.mark.parametrize(
    ("content", "why"), [(None, "fiveways call"), ("", "no calls in it"), ("no fastq", "no calls in it")]
)
def test_a_file_without_calls_is_refused(tmp_path: Path, content: str | None, why: str) -> None:
    file = tmp_path / "calls.fastq"
    if content is not None:
        file.write_text(content)
    with pytest.raises(CheckError, match=why):
        read_expected(file)


def test_reads_that_nobody_called_are_named_and_none_that_were_is_an_error() -> None:
    expected = {"a": b""}
    assert list(missing_reads(["a", "b", "c"], expected)) == ["b", "c"]
    with pytest.raises(CheckError, match=r"none of the reads sent .* such as b"):
        list(missing_reads(["b", "c"], expected))
