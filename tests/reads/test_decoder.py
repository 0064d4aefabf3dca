import io
import json
from pathlib import Path
from typing import Any

import h5py
import pytest
from made_reads import made_read

from reads import frames
from reads.decoder import decode_file, reason
from reads.fast5 import Fast5Writer
from reads.read import Read


def sent(path: Path, *, start: int = 0, wanted: set[str] | None = None) -> list[dict[str, Any]]:
    """Return the messages of the frames that decoding `path` sends."""
    out = io.BytesIO()
    decode_file(path, out, start=start, wanted=wanted)
    out.seek(0)
    messages = []
    while prefix := out.read(frames.PREFIX_BYTES):
        message_bytes, samples = frames.unpack_lengths(prefix)
        messages.append(json.loads(out.read(message_bytes)))
        out.seek(2 * samples, io.SEEK_CUR)
    return messages


@pytest.fixture
def reads() -> list[Read]:
    return sorted((made_read(seed) for seed in range(3)), key=lambda read: read.read_id)


@pytest.fixture
def path(tmp_path: Path, reads: list[Read]) -> Path:
    with Fast5Writer(tmp_path / "a.fast5") as writer:
        for read in reads:
            writer.write(read)
    return tmp_path / "a.fast5"


def test_each_entry_is_announced_before_it_is_decoded(path: Path, reads: list[Read]) -> None:
    messages = sent(path)
    assert [message["is"] for message in messages] == ["at", "read"] * 3
    assert [message["index"] for message in messages[::2]] == [0, 1, 2]
    assert [message["read_id"] for message in messages] == [read.read_id for read in reads for _ in "12"]


def test_decoding_begins_where_it_is_told_to(path: Path, reads: list[Read]) -> None:
    assert [message["read_id"] for message in sent(path, start=2)] == [reads[2].read_id] * 2


def test_reads_that_are_not_wanted_are_not_decoded(path: Path, reads: list[Read]) -> None:
    with h5py.File(path, "a") as file:
        del file[f"read_{reads[0].read_id}/Raw"]
    assert [message["read_id"] for message in sent(path, wanted={reads[1].read_id, "x"})] == [
        reads[1].read_id
    ] * 2


def test_a_read_without_samples_is_bad(path: Path, reads: list[Read]) -> None:
    with h5py.File(path, "a") as file:
        del file[f"read_{reads[1].read_id}/Raw/Signal"]
        file[f"read_{reads[1].read_id}/Raw/Signal"] = h5py.Empty("<i2")
    assert [message["is"] for message in sent(path)] == ["at", "read", "at", "bad", "at", "read"]


def test_a_file_that_is_none_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "a.fast5").write_text("text")
    (message,) = sent(tmp_path / "a.fast5")
    assert message["is"] == "file"
    (missing,) = sent(tmp_path / "b.fast5")
    assert "No such file" in missing["why"]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\n  lines"), "two lines"),
        (KeyError("name"), "name"),
        (MemoryError(), "MemoryError"),
        (ValueError("x" * 400), "x" * 300 + "..."),
    ],
)
def test_a_reason_is_one_line(error: Exception, line: str) -> None:
    assert reason(error) == line
