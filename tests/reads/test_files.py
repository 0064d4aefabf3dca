import io
import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from made_reads import assert_same, made_read
from made_slow5 import pyslow5, write_slow5

from reads.errors import ReadFileError, ReadsError
from reads.fast5 import Fast5Writer
from reads.files import open_reads
from reads.pod5_file import Pod5Writer
from reads.read import Read


def write(path: Path, reads: list[Read]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with Fast5Writer(path) if path.suffix == ".fast5" else Pod5Writer(path) as writer:
        for read in reads:
            writer.write(read)
    return path


def test_folders_of_every_format_give_all_their_reads(tmp_path: Path) -> None:
    reads = [made_read(seed) for seed in range(9)]
    write(tmp_path / "1.fast5", reads[:3])
    write(tmp_path / "2.pod5", reads[3:6])
    (tmp_path / "3").mkdir()
    write_slow5(tmp_path / "3/3.blow5", reads[6:])
    with open_reads([tmp_path]) as stream:
        got = {read.read_id: read for read in stream}
        assert stream.problems == []
    names = ["1.fast5"] * 3 + ["2.pod5"] * 3 + ["3.blow5"] * 3
    assert len(got) == 9
    for read, name in zip(reads, names, strict=True):
        assert_same(got[read.read_id], read, name)


def test_damage_is_one_line_each_and_the_rest_is_read(tmp_path: Path) -> None:
    good = write(tmp_path / "b.fast5", [made_read(seed) for seed in range(2)])
    (tmp_path / "a.fast5").write_text("text")
    (tmp_path / "c.pod5").write_bytes(b"")
    (tmp_path / "d.fast5").write_bytes(good.read_bytes()[:3000])
    told: list[str] = []
    stream = open_reads([tmp_path], on_problem=lambda problem: told.append(str(problem)))
    assert len(list(stream)) == 2
    assert told == [
        f"{tmp_path}/a.fast5: neither fast5, pod5 nor slow5: it begins with b'text'",
        f"{tmp_path}/c.pod5: empty",
        f"{tmp_path}/d.fast5: truncated: 3000 of {good.stat().st_size} bytes",
    ]
    assert [str(problem) for problem in stream.problems] == told


def test_an_id_that_comes_twice_is_reported_and_skipped(tmp_path: Path) -> None:
    read, other = made_read(1), made_read(2)
    write(tmp_path / "a.fast5", [read])
    write(tmp_path / "b.pod5", [read, other])
    stream = open_reads([tmp_path])
    assert [(got.read_id, got.origin.filename) for got in stream] == [
        (read.read_id, "a.fast5"),
        (other.read_id, "b.pod5"),
    ]
    (problem,) = stream.problems
    assert str(problem) == f"{tmp_path}/b.pod5: {read.read_id}: a read of this id came before"


def test_paths_that_do_not_exist_fail_before_anything_is_read(tmp_path: Path) -> None:
    good = write(tmp_path / "a.fast5", [made_read(1)])
    with pytest.raises(ReadFileError, match=r"b\.fast5: there is no such file or folder"):
        open_reads([good, tmp_path / "b.fast5"])
    with pytest.raises(ReadsError, match="no file or folder"):
        open_reads([])


def test_files_are_opened_when_their_turn_comes(tmp_path: Path) -> None:
    write(tmp_path / "a.fast5", [made_read(1)])
    second = write(tmp_path / "b.fast5", [made_read(2)])
    stream = open_reads([tmp_path / "a.fast5", second])
    found = iter(stream)
    next(found)
    second.unlink()
    assert list(found) == []
    assert "No such file" in str(stream.problems[0])


def test_selected_reads_alone_are_read_and_missing_ones_are_known(tmp_path: Path) -> None:
    reads = [made_read(seed) for seed in range(3)]
    path = write(tmp_path / "a.pod5", reads)
    stream = open_reads([path], read_ids=[reads[1].read_id, "nobody"])
    assert [read.read_id for read in stream] == [reads[1].read_id]
    assert stream.missing_ids == {"nobody"}
    assert open_reads([path]).missing_ids == frozenset()


def test_progress_ends_at_the_size_of_the_files(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "a.fast5", [made_read(seed) for seed in range(4)]),
        write(tmp_path / "b.pod5", [made_read(seed) for seed in range(4, 8)]),
    ]
    stream = open_reads([tmp_path])
    assert stream.total_bytes() == sum(path.stat().st_size for path in paths)
    done = [stream.done_bytes for _ in stream]
    assert done == sorted(done)
    assert 0 < done[3] < done[-1] < stream.done_bytes == stream.total_bytes()


def test_standard_input_is_a_file_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = made_read(1)
    content = write(tmp_path / "a.pod5", [read]).read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    (got,) = open_reads(["-"])
    assert_same(got, read, "stdin")


def test_problems_of_standard_input_are_called_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"text")))
    stream = open_reads(["-"])
    assert list(stream) == []
    assert str(stream.problems[0]).startswith("-: neither fast5")


def test_a_named_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    read = made_read(1)
    content = write(tmp_path / "a.fast5", [read]).read_bytes()
    os.mkfifo(tmp_path / "pipe")
    feeder = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[content])
    feeder.start()
    (got,) = open_reads([tmp_path / "pipe"])
    feeder.join()
    assert_same(got, read, "pipe")


def test_a_stream_that_is_left_leaves_no_process(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fast5", [made_read(seed, samples=200_000) for seed in range(3)])
    with open_reads([path]) as stream:
        found = iter(stream)
        next(found)
        pid = stream._decoder.pid
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_reading_works_where_gevent_replaced_the_standard_library(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fast5", [made_read(seed, samples=100_000) for seed in range(3)])
    code = (
        "from gevent import monkey; monkey.patch_all()\n"
        "from reads.files import open_reads\n"
        f"print(sum(len(read.signal) for read in open_reads([{str(path)!r}])))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("300000\n", "")


def test_every_good_read_of_the_shared_files_is_read(shared: Path) -> None:
    pyslow5()
    expected = {
        "lambda_r9.4.1": {"reads.fast5": 50},
        "ecoli_r9.4": {"reads_0.fast5": 64, "reads_1.fast5": 48},
        "formats/fast5_single": {"r10.4.1_4khz.fast5": 1, "read_file_v0.6_raw.fast5": 1},
        "formats/fast5_multi": {
            "gzip_r9.fast5": 10,
            "multi_with_analyses.fast5": 1,
            "tiny_reads.fast5": 4,
            "vbz.fast5": 8,
        },
        "formats/pod5": {"r10.4.1_one_read.pod5": 1, "r9_10_reads.pod5": 10},
    }
    for folder, counts in expected.items():
        stream = open_reads([shared / folder])
        assert Counter(read.origin.filename for read in stream) == counts
        assert stream.problems == []
    for name, count in {
        "example.slow5": 8,
        "r10.4.1_4khz_10_reads.blow5": 10,
        "r10.4.1_5khz_prom.blow5": 8,
    }.items():
        stream = open_reads([shared / "formats/slow5" / name])
        assert len(list(stream)) == count
        assert stream.problems == []


@pytest.mark.parametrize("folder", ["lambda_r9.4.1", "ecoli_r9.4"])
def test_signals_are_as_long_as_the_truth_says(shared: Path, folder: str) -> None:
    header, *rows = ((shared / folder / "truth.tsv").read_text()).splitlines()
    columns = header.split("\t")
    truth = {}
    for row in rows:
        values = dict(zip(columns, row.split("\t"), strict=True))
        truth[values["read_id"]] = int(values["n_samples"])
    assert {read.read_id: len(read.signal) for read in open_reads([shared / folder])} == truth


def test_the_same_reads_in_two_formats_are_the_same(shared: Path) -> None:
    formats = shared / "formats"
    fast5 = {read.read_id: read for read in open_reads([formats / "fast5_multi/gzip_r9.fast5"])}
    for read in open_reads([formats / "pod5/r9_10_reads.pod5"]):
        other = fast5[read.read_id]
        assert (read.signal == other.signal).all()
        assert read.calibration.scale == pytest.approx(other.calibration.scale)
        assert (read.origin.channel, read.origin.mux) == (other.origin.channel, other.origin.mux)
        assert read.origin.start_sample == other.origin.start_sample
        assert read.origin.run_started == other.origin.run_started


def test_damaged_shared_files_are_told_apart(shared: Path) -> None:
    damaged = shared / "damaged"
    expected = {
        "basecall_2d_file_v1.0.fast5": (0, ["events and no raw signal"]),
        "empty.fast5": (0, ["empty"]),
        "no_signal_telemetry.fast5": (0, ["events and no raw signal"]),
        "promr10dna_badhdr.slow5": (8, []),
        "promr10dna_badrec.slow5": (
            7,
            ["0d624d4b-671f-40b8-9798-84f2ccc4d7fc: its record says 4000 Hz, its header 5000 Hz"],
        ),
        "read_file_v0.6_single.fast5": (0, ["events and no raw signal"]),
        "read_file_v1.0_single.fast5": (0, ["events and no raw signal"]),
        "text_named.fast5": (0, [r"neither fast5, pod5 nor slow5: it begins with b'not a fast5\n'"]),
        "text_named.pod5": (0, ["neither fast5, pod5 nor slow5: it begins with b'version https:'"]),
        "truncated.blow5": (1, ["truncated after record 1"]),
        "truncated.fast5": (0, ["truncated: 3000000 of 11460788 bytes"]),
        "truncated.pod5": (0, ["truncated: the table of its reads was at the end"]),
    }
    assert {path.name for path in damaged.iterdir()} == set(expected)
    for name, (reads, whys) in expected.items():
        stream = open_reads([damaged / name])
        assert len(list(stream)) == reads, name
        assert [str(problem) for problem in stream.problems] == [f"{damaged / name}: {why}" for why in whys]
