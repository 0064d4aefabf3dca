from dataclasses import replace
from pathlib import Path

import pod5
import pytest
from made_reads import assert_same, made_read

from reads.pod5_file import Pod5Writer, entries
from reads.read import Origin, Read


def write(path: Path, reads: list[Read]) -> Path:
    with Pod5Writer(path) as writer:
        for read in reads:
            writer.write(read)
    return path


def test_what_is_written_comes_back_in_order(tmp_path: Path) -> None:
    reads = [made_read(seed, samples=1 + 700 * seed, run_id=f"run{seed % 2}") for seed in range(5)]
    found = list(entries(write(tmp_path / "a.pod5", reads)))
    assert [entry.read_id for entry in found] == [read.read_id for read in reads]


def test_every_read_is_the_one_that_was_written(tmp_path: Path) -> None:
    reads = [made_read(seed, samples=1 + 60_000 * seed, run_id=f"run{seed % 2}") for seed in range(4)]
    path = write(tmp_path / "a.pod5", reads)
    for entry, read in zip(entries(path), reads, strict=True):
        assert_same(entry.decode(), read, "a.pod5")


def test_what_an_origin_leaves_open_is_written_as_zero_or_empty(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pod5", [replace(made_read(1), origin=Origin())])
    (got,) = (entry.decode() for entry in entries(path))
    assert got.origin == Origin(channel=0, mux=0, read_number=0, start_sample=0, filename="a.pod5")


def test_entries_tell_how_far_the_file_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pod5", [made_read(seed, samples=10) for seed in range(4)])
    assert [entry.before for entry in entries(path)] == [0.0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (replace(made_read(2), read_id="r2"), "badly formed hexadecimal UUID"),
        (replace(made_read(2), sample_rate=4000.5), "whole sample rates"),
        (replace(made_read(2), sample_rate=5000.0), "described differently"),
    ],
)
def test_what_pod5_cannot_say_fails_and_leaves_no_file(tmp_path: Path, second: Read, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        write(tmp_path / "a.pod5", [made_read(1), second])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [30, 1000, -1])
def test_truncation_is_said(tmp_path: Path, kept: int) -> None:
    path = write(tmp_path / "a.pod5", [made_read(1)])
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="truncated"):
        list(entries(path))


def test_a_damaged_signal_costs_that_read_alone(tmp_path: Path) -> None:
    reads = [made_read(seed, samples=3000) for seed in range(3)]
    path = write(tmp_path / "a.pod5", reads)
    content = path.read_bytes()
    stored = pod5.vbz_compress_signal(reads[1].signal).tobytes()
    assert content.count(stored) == 1
    path.write_bytes(content.replace(stored, bytes(len(stored))))
    for entry, read in zip(entries(path), reads, strict=True):
        if read is reads[1]:
            with pytest.raises(RuntimeError, match="ompress"):
                entry.decode()
        else:
            assert_same(entry.decode(), read, "a.pod5")
