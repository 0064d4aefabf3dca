"""What request bodies promise: the samples of the reads, all of them, the same ones for the same source."""

from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
import pytest
from numpy.typing import NDArray

import loadgen.bodies
from loadgen.bodies import Body, ReadSource, prepare_bodies, shuffled, split_reads
from reads.arrow_stream import entries
from reads.errors import ReadFileError
from reads.read import Calibration, Read
from reads.wire import ARROW_STREAM
from reads.writer import read_writer


def read_of(signal: NDArray[np.int16], read_id: str = "a-read") -> Read:
    return Read(read_id, signal, Calibration(offset=6.0, scale=0.177), 4000.0)


def test_a_whole_read_is_one_body_of_little_endian_int16() -> None:
    (body,) = split_reads([read_of(np.array([1, -2, 258], np.int16))], 0)
    assert body.content == b"\x01\x00\xfe\xff\x02\x01"
    assert body.samples == 3
    assert parse_qs(body.query) == {
        "read_id": ["a-read"],
        "sample_rate": ["4000.0"],
        "offset": ["6.0"],
        "scale": ["0.177"],
    }


def test_pieces_of_a_read_are_its_samples_in_order() -> None:
    signal = np.arange(1000, dtype=np.int16)
    bodies = list(split_reads([read_of(signal)], 300))
    assert [body.samples for body in bodies] == [300, 300, 300, 100]
    assert [body.read_id for body in bodies] == ["a-read:0", "a-read:300", "a-read:600", "a-read:900"]
    assert b"".join(body.content for body in bodies) == signal.tobytes()


def test_a_read_without_samples_has_no_body() -> None:
    assert list(split_reads([read_of(np.zeros(0, np.int16))], 0)) == []


def test_the_source_alone_decides_the_simulated_bodies() -> None:
    source = ReadSource(simulated=3, mean_bases=100)
    first, again = list(prepare_bodies(source)), list(prepare_bodies(source))
    assert first == again
    assert len(first) == 3
    assert first != list(prepare_bodies(ReadSource(simulated=3, mean_bases=100, seed=2)))


def test_the_seed_alone_decides_the_order() -> None:
    bodies = [Body(str(number), "", b"", 0) for number in range(20)]
    order = shuffled(bodies, seed=1)
    assert order == shuffled(bodies, seed=1)
    assert order != shuffled(bodies, seed=2)
    assert set(order) == set(bodies)


def test_reads_come_from_files(tmp_path: Path) -> None:
    signals = [np.arange(start, start + 500, dtype=np.int16) for start in (0, 7)]
    path = tmp_path / "reads.fast5"
    with read_writer(path) as writer:
        for number, signal in enumerate(signals):
            writer.write(read_of(signal, f"0000000{number}-0000-4000-8000-000000000000"))
    bodies = list(prepare_bodies(ReadSource(paths=(str(path),))))
    assert {body.content for body in bodies} == {signal.tobytes() for signal in signals}


def test_a_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReadFileError, match="nowhere"):
        next(prepare_bodies(ReadSource(paths=(str(tmp_path / "nowhere"),))))


def test_a_folder_without_reads_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no reads to send"):
        list(prepare_bodies(ReadSource(paths=(str(tmp_path),))))


def test_no_more_signal_is_held_than_the_limit(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    everything = list(prepare_bodies(ReadSource(simulated=5, mean_bases=200)))
    limit = len(everything[0].content) + len(everything[1].content)
    monkeypatch.setattr(loadgen.bodies, "MAX_BODY_BYTES", limit)
    assert list(prepare_bodies(ReadSource(simulated=5, mean_bases=200))) == everything[:2]
    assert "are sent" in caplog.text


@pytest.mark.parametrize("vbz", [False, True])
def test_a_read_can_be_sent_as_an_arrow_stream(tmp_path: Path, *, vbz: bool) -> None:
    reads = [replace(read_of(np.arange(700, dtype=np.int16)), read_id="a")]
    bodies = list(split_reads(reads, 300, "arrow-vbz" if vbz else "arrow"))
    assert [(body.read_id, body.samples) for body in bodies] == [("a:0", 300), ("a:300", 300), ("a:600", 100)]
    assert {(body.query, body.media_type) for body in bodies} == {("", ARROW_STREAM)}
    (tmp_path / "body").write_bytes(bodies[1].content)
    (entry,) = entries(tmp_path / "body")
    sent = entry.decode()
    assert (sent.read_id, sent.sample_rate, sent.calibration) == ("a:300", 4000.0, reads[0].calibration)
    assert sent.signal.tolist() == list(range(300, 600))
