from pathlib import Path

import h5py
import pytest
from made_reads import made_read

from reads.fast5 import Fast5Writer
from reads.formats import entries, holds_reads


def test_content_decides_and_not_the_name(tmp_path: Path) -> None:
    read = made_read(1)
    with Fast5Writer(tmp_path / "a.fast5") as writer:
        writer.write(read)
    (tmp_path / "a.fast5").rename(tmp_path / "a.pod5")
    assert [entry.read_id for entry in entries(tmp_path / "a.pod5")] == [read.read_id]


@pytest.mark.parametrize(
    ("content", "why"), [(b"", "empty"), (b"not a fast5", "neither fast5, pod5 nor slow5.*not a fast5")]
)
def test_what_is_no_read_file_is_refused_with_what_it_is(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "a.fast5"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=why):
        entries(path)


def test_searching_takes_read_files_by_name_or_by_content(tmp_path: Path) -> None:
    contents = {
        "text.fast5": b"text",
        "upper.POD5": b"text",
        "nameless": b"\x8bPOD\r\n\x1a\n",
        "text.bin": b"#slow5_version\t0.2.0",
        "notes.txt": b"text",
        "empty": b"",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    found = {path.name for path in tmp_path.iterdir() if holds_reads(path)}
    assert found == {"text.fast5", "upper.POD5", "nameless", "text.bin"}


def test_searching_leaves_out_hdf5_of_another_name(tmp_path: Path) -> None:
    h5py.File(tmp_path / "training.hdf5", "w").close()
    assert not holds_reads(tmp_path / "training.hdf5")
