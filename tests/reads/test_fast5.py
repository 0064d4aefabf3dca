import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from made_reads import assert_same, made_read

from reads.fast5 import Fast5Writer, entries
from reads.read import Origin, Read


def write(path: Path, reads: list[Read]) -> Path:
    with Fast5Writer(path) as writer:
        for read in reads:
            writer.write(read)
    return path


def decoded(path: Path) -> dict[str, Read | str]:
    """Return what each entry decodes to: a read, or why there is none."""
    results: dict[str, Read | str] = {}
    for entry in entries(path):
        try:
            results[entry.read_id] = entry.decode()
        except (ValueError, OSError) as error:
            results[entry.read_id] = str(error)
    return results


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    reads = [made_read(seed, samples=1 + 700 * seed) for seed in range(5)]
    results = decoded(write(tmp_path / "a.fast5", reads))
    for read in reads:
        assert_same(results[read.read_id], read, "a.fast5")  # type: ignore[arg-type]
    assert len(results) == 5


def test_written_signal_is_vbz_and_runs_are_stored_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fast5", [made_read(1), made_read(2), made_read(3, run_id="other")])
    with h5py.File(path) as file:
        groups = list(file.values())
        assert all(group["Raw/Signal"]._filters == {"32020": (0, 2, 1, 1)} for group in groups)
        assert len({group["tracking_id"].id.__hash__() for group in groups}) == 2


def test_what_an_origin_leaves_open_is_written_as_zero(tmp_path: Path) -> None:
    read = replace(made_read(1), origin=Origin())
    (got,) = decoded(write(tmp_path / "a.fast5", [read])).values()
    assert isinstance(got, Read)
    assert got.origin == Origin(channel=0, mux=0, read_number=0, start_sample=0, filename="a.fast5")


def test_a_failed_writer_leaves_no_file(tmp_path: Path) -> None:
    read = made_read(1)
    with pytest.raises(ValueError, match="already exists"):
        write(tmp_path / "a.fast5", [read, read])
    assert list(tmp_path.iterdir()) == []


def test_writing_says_nothing_on_a_terminal(tmp_path: Path) -> None:
    code = (
        "from made_reads import made_read; from pathlib import Path; from reads.fast5 import Fast5Writer\n"
        f"with Fast5Writer(Path({str(tmp_path / 'a.fast5')!r})) as writer: writer.write(made_read(1))"
    )
    here = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=here, check=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("storage", [{}, {"compression": "gzip"}, {"chunks": (500,)}])
def test_single_read_files_are_read_in_every_storage(tmp_path: Path, storage: dict[str, object]) -> None:
    made = made_read(7, device_id="")
    path = tmp_path / "single.fast5"
    with h5py.File(path, "w") as file:
        raw = file.create_group("Raw/Reads/Read_107")
        raw.create_dataset("Signal", data=made.signal, **storage)
        raw.attrs.update(read_id=made.read_id.encode(), read_number=107, start_mux=4, start_time=28000)
        key = file.create_group("UniqueGlobalKey")
        key.create_group("channel_id").attrs.update(
            channel_number="8", digitisation=8192, offset=7.0, range=0.1875 * 8192, sampling_rate=4000
        )
        key.create_group("tracking_id").attrs.update(
            run_id=[b"run"], flow_cell_id="FLOW", sample_id=np.bytes_(b"sample"), exp_start_time="1714979289"
        )
        file.create_group("Analyses/Basecall_1D_000").attrs["broken"] = h5py.Empty("f")
    (got,) = decoded(path).values()
    assert isinstance(got, Read)
    assert_same(got, made, "single.fast5")


def without(name: str) -> Callable[[h5py.Group], None]:
    return lambda group: group.__delitem__(name)


def signal_of(**storage: object) -> Callable[[h5py.Group], None]:
    def replaced(group: h5py.Group) -> None:
        del group["Raw/Signal"]
        group["Raw"].create_dataset("Signal", **storage)

    return replaced


def unknown_codec(group: h5py.Group) -> None:
    del group["Raw/Signal"]
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((100,))
    plist.set_filter(32999, h5py.h5z.FLAG_OPTIONAL)
    space = h5py.h5s.create_simple((100,))
    h5py.h5d.create(group["Raw"].id, b"Signal", h5py.h5t.STD_I16LE, space, plist)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (without("Raw"), "there is no Raw"),
        (without("Raw/Signal"), "there is no Signal"),
        (without("channel_id"), "there is no channel_id"),
        (lambda group: group["channel_id"].attrs.__delitem__("range"), "there is no range"),
        (lambda group: group["channel_id"].attrs.update(digitisation=0.0), "digitisation is 0"),
        (lambda group: group["channel_id"].attrs.update(offset="x"), "could not convert"),
        (signal_of(data=np.zeros(9, np.float32)), "float32"),
        (signal_of(data=np.zeros((3, 3), np.int16)), r"shape \(3, 3\)"),
        (signal_of(shape=(1 << 29,), dtype="<i2", chunks=(1000,)), "536870912 samples"),
        (signal_of(shape=(5000,), dtype="<i2", chunks=(1000,)), "5 chunks of the signal were never written"),
        (signal_of(shape=(5000,), dtype="<i2"), "the signal was never written"),
        (unknown_codec, "HDF5 filter 32999"),
    ],
)
def test_a_damaged_read_costs_that_read_alone(
    tmp_path: Path, damage: Callable[[h5py.Group], None], why: str
) -> None:
    reads = [made_read(seed) for seed in range(3)]
    path = write(tmp_path / "a.fast5", reads)
    with h5py.File(path, "a") as file:
        damage(file[f"read_{reads[1].read_id}"])
    results = decoded(path)
    assert_same(results[reads[0].read_id], reads[0], "a.fast5")  # type: ignore[arg-type]
    assert_same(results[reads[2].read_id], reads[2], "a.fast5")  # type: ignore[arg-type]
    assert why.replace("\\", "") in str(results[reads[1].read_id])


def test_damaged_compressed_signal_costs_that_read_alone(tmp_path: Path) -> None:
    reads = [made_read(seed) for seed in range(3)]
    path = write(tmp_path / "a.fast5", reads)
    with h5py.File(path) as file:
        chunk = file[f"read_{reads[1].read_id}/Raw/Signal"].id.get_chunk_info(0)
    with path.open("r+b") as stored:
        stored.seek(chunk.byte_offset)
        stored.write(bytes(chunk.size))
    results = decoded(path)
    assert isinstance(results[reads[1].read_id], str)
    assert_same(results[reads[0].read_id], reads[0], "a.fast5")  # type: ignore[arg-type]
    assert_same(results[reads[2].read_id], reads[2], "a.fast5")  # type: ignore[arg-type]


def test_what_no_call_needs_may_be_missing(tmp_path: Path) -> None:
    made = made_read(1)
    path = write(tmp_path / "a.fast5", [made])
    with h5py.File(path, "a") as file:
        group = file[f"read_{made.read_id}"]
        del group["tracking_id"]
        del group["Raw"].attrs["start_mux"]
        group["channel_id"].attrs["channel_number"] = "?"
    (got,) = decoded(path).values()
    assert isinstance(got, Read)
    assert got.origin == Origin(read_number=101, start_sample=4000, filename="a.fast5")


def test_truncation_is_said_with_both_sizes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fast5", [made_read(1)])
    whole = path.read_bytes()
    path.write_bytes(whole[:3000])
    with pytest.raises(ValueError, match=f"truncated: 3000 of {len(whole)} bytes"):
        decoded(path)


def test_files_of_events_only_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.fast5", "w") as file:
        file.create_group("Analyses/EventDetection_000/Reads/Read_1")
    with pytest.raises(ValueError, match="events and no raw signal"):
        decoded(tmp_path / "a.fast5")


def test_other_hdf5_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.fast5", "w") as file:
        file["x"] = 1
    with pytest.raises(ValueError, match="HDF5 without reads"):
        decoded(tmp_path / "a.fast5")
