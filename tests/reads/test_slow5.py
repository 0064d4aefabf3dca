import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from made_reads import assert_same, made_read
from made_slow5 import write_slow5

from reads.read import Read
from reads.slow5 import MAX_DAMAGED_IN_A_ROW, entries


def decoded(path: Path) -> Iterator[Read | str]:
    """Yield what each entry decodes to: a read, or why there is none."""
    for entry in entries(path):
        try:
            yield entry.decode()
        except ValueError as error:
            yield str(error)


@pytest.mark.parametrize("name", ["a.blow5", "a.slow5"])
def test_what_is_written_comes_back(tmp_path: Path, name: str) -> None:
    reads = [made_read(seed, samples=10 + 700 * seed) for seed in range(4)]
    for got, read in zip(decoded(write_slow5(tmp_path / name, reads)), reads, strict=True):
        assert isinstance(got, Read)
        assert_same(got, read, name)


def test_a_damaged_record_costs_that_read_alone(tmp_path: Path) -> None:
    reads = [made_read(seed) for seed in range(3)]
    path = write_slow5(tmp_path / "a.slow5", reads)
    lines = path.read_text().splitlines(keepends=True)
    lines[-2] = lines[-2].replace("\t2000\t", "\t2OOO\t")
    path.write_text("".join(lines))
    first, second, third = decoded(path)
    assert_same(first, reads[0], "a.slow5")  # type: ignore[arg-type]
    assert second == "record parsing error"
    assert_same(third, reads[2], "a.slow5")  # type: ignore[arg-type]


def test_a_damaged_compressed_record_costs_that_read_alone(tmp_path: Path) -> None:
    reads = [made_read(seed) for seed in range(3)]
    path = write_slow5(tmp_path / "a.blow5", reads)
    content = bytearray(path.read_bytes())
    size = len(write_slow5(tmp_path / "two.blow5", reads[:2]).read_bytes())
    content[size - 100] ^= 0xFF  # in the second record, five bytes of end mark aside
    path.write_bytes(content)
    first, second, third = decoded(path)
    assert_same(first, reads[0], "a.blow5")  # type: ignore[arg-type]
    assert isinstance(second, str)
    assert_same(third, reads[2], "a.blow5")  # type: ignore[arg-type]


def test_reads_before_a_truncation_are_kept(tmp_path: Path) -> None:
    reads = [made_read(seed) for seed in range(3)]
    path = write_slow5(tmp_path / "a.blow5", reads)
    path.write_bytes(path.read_bytes()[:-300])
    found = decoded(path)
    for read in reads[:2]:
        assert_same(next(found), read, "a.blow5")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="truncated after record 2"):
        next(found)


def test_a_file_that_makes_no_sense_any_more_is_given_up(tmp_path: Path) -> None:
    path = write_slow5(tmp_path / "a.slow5", [made_read(1)])
    path.write_text(path.read_text() + "noise\n" * (2 * MAX_DAMAGED_IN_A_ROW))
    found = decoded(path)
    assert isinstance(next(found), Read)
    for _ in range(MAX_DAMAGED_IN_A_ROW):
        assert next(found) == "record parsing error"
    with pytest.raises(ValueError, match="damaged records in a row"):
        next(found)


def test_a_record_and_a_header_that_disagree_on_the_sample_rate_are_a_problem(tmp_path: Path) -> None:
    reads = [made_read(1), replace(made_read(2), sample_rate=5000.0)]
    first, second = decoded(write_slow5(tmp_path / "a.blow5", reads, declared_hz="5000"))
    assert first == "its record says 4000 Hz, its header 5000 Hz"
    assert_same(second, reads[1], "a.blow5")  # type: ignore[arg-type]


def test_without_pyslow5_the_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyslow5", None)
    with pytest.raises(ValueError, match=r"pip install 'fiveways\[slow5\]'"):
        next(entries(tmp_path / "a.blow5"))
