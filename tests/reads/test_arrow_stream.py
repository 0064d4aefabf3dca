"""Reads as an Arrow stream: what comes back is what went in, and what is wrong costs no more than it must."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_reads import made_read

from reads import formats
from reads.arrow_stream import entries, reads_to_stream
from reads.errors import ReadError
from reads.guard import GuardedDecoder
from reads.limits import Limits
from reads.read import Calibration, Read, Signal
from reads.validity import why_unusable

ANY_SPEED = settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
"""A busy machine is no failure."""


def stored(folder: Path, content: bytes) -> Path:
    path = folder / "a.arrows"
    path.write_bytes(content)
    return path


def table(**columns: Any) -> dict[str, Any]:
    """The columns of a good stream of two reads, with those that are given in their place."""
    good = {
        "read_id": pa.array(["a", "b"]),
        "signal": pa.array([[1, 2, 3], [4]], pa.list_(pa.int16())),
        "offset": pa.array([6.0, 7.0]),
        "scale": pa.array([0.5, 0.25]),
        "sample_rate": pa.array([4000.0, 5000.0]),
    }
    return {name: column for name, column in (good | columns).items() if column is not None}


def stream_of(columns: dict[str, Any]) -> bytes:
    batch = pa.record_batch(columns)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return sink.getvalue()


@pytest.mark.parametrize("vbz", [False, True])
@ANY_SPEED
@given(signals=st.lists(arrays(np.int16, st.integers(1, 300)), min_size=1, max_size=5))
def test_reads_survive_the_stream(
    vbz: bool, signals: list[Signal], tmp_path_factory: pytest.TempPathFactory
) -> None:
    reads = [
        Read(f"r{index}", signal, Calibration(float(index), 0.5), 4000.0 + index)
        for index, signal in enumerate(signals)
    ]
    path = stored(tmp_path_factory.mktemp("stream"), reads_to_stream(reads, vbz=vbz, batch_reads=2))
    for entry, read in zip(formats.entries(path), reads, strict=True):
        got = entry.decode()
        assert (got.read_id, got.calibration, got.sample_rate) == (
            read.read_id,
            read.calibration,
            read.sample_rate,
        )
        assert got.signal.dtype == np.int16 and np.array_equal(got.signal, read.signal)


def test_wider_and_narrower_columns_and_others_beside_them_will_do(tmp_path: Path) -> None:
    columns = table(
        read_id=pa.array(["a", "b"], pa.large_string()),
        signal=pa.array([[1, 2, 3], [4]], pa.large_list(pa.int16())),
        offset=pa.array([6, 7], pa.int32()),
        scale=pa.array([0.5, 0.25], pa.float32()),
        pore=pa.array(["x", "y"]),
    )
    first, second = (entry.decode() for entry in entries(stored(tmp_path, stream_of(columns))))
    assert (first.read_id, first.signal.tolist(), first.calibration) == ("a", [1, 2, 3], Calibration(6, 0.5))
    assert (second.read_id, second.signal.tolist(), second.sample_rate) == ("b", [4], 5000.0)


def test_views_are_text_and_binary_too_as_polars_writes_them(tmp_path: Path) -> None:
    compressed = pa.ipc.open_stream(reads_to_stream([made_read(1, 300)], vbz=True)).read_all()
    columns = table(
        read_id=pa.array(["a", "b"], pa.string_view()),
        signal=pa.array(compressed.column("signal").to_pylist() * 2, pa.binary_view()),
        samples=pa.array([300, 300]),
    )
    for entry, name in zip(entries(stored(tmp_path, stream_of(columns))), ("a", "b"), strict=True):
        assert entry.read_id == name and np.array_equal(entry.decode().signal, made_read(1, 300).signal)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"scale": None}, "no column scale"),
        ({"read_id": pa.array([1, 2])}, "read_id is int64"),
        ({"signal": pa.array([[1], [2]], pa.list_(pa.int32()))}, "list<int16>"),
        ({"signal": pa.array([b"a", b"b"])}, "no column samples"),
        ({"sample_rate": pa.array(["fast", "slow"])}, "sample_rate is string"),
    ],
)
def test_a_stream_without_what_is_needed_is_refused(
    tmp_path: Path, columns: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        list(entries(stored(tmp_path, stream_of(table(**columns)))))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"read_id": pa.array([None, "b"], pa.string())}, "read_id is null"),
        ({"signal": pa.array([None, [4]], pa.list_(pa.int16()))}, "signal is null"),
        ({"signal": pa.array([[1, None], [4]], pa.list_(pa.int16()))}, "1 of its samples are null"),
        ({"scale": pa.array([None, 0.25])}, "scale is null"),
        ({"signal": pa.array([[1] * 6, [4]], pa.list_(pa.int16()))}, "6 samples long; 5 is the most"),
        ({"signal": pa.array([b"x", b"y"]), "samples": pa.array([6, 1])}, "6 samples long; 5 is the most"),
        ({"signal": pa.array([b"x", b"y"]), "samples": pa.array([None, 1])}, "said to be None"),
        ({"signal": pa.array([b"x", b"y"]), "samples": pa.array([-1, 1])}, "said to be -1"),
        ({"signal": pa.array([b"x", b"y"]), "samples": pa.array([3, 1])}, "zstd"),
    ],
)
def test_what_is_wrong_with_one_read_is_its_own(tmp_path: Path, columns: dict[str, Any], said: str) -> None:
    first = next(entries(stored(tmp_path, stream_of(table(**columns))), most_samples=5))
    with pytest.raises((ValueError, RuntimeError), match=said):
        first.decode()


def test_a_stream_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no rows"):
        list(entries(stored(tmp_path, reads_to_stream([]))))


def test_a_bomb_is_refused_by_what_it_says_and_what_it_says_falsely_by_the_codec(tmp_path: Path) -> None:
    bomb = reads_to_stream([Read("z", np.zeros(10**6, np.int16), Calibration(0, 1), 4000.0)], vbz=True)
    assert len(bomb) < 2000
    with GuardedDecoder(limits=Limits(read_samples=10**5)) as decoder:
        (refused,) = decoder.decode(stored(tmp_path, bomb), known_as=tmp_path)
    assert isinstance(refused, ReadError) and "1000000 samples long; 100000 is the most" in refused.why
    compressed = pa.ipc.open_stream(bomb).read_all().column("signal")[0].as_py()
    lying = table(signal=pa.array([compressed] * 2), samples=pa.array([100, 99_999]))
    for entry in entries(stored(tmp_path, stream_of(lying)), 10**5):
        with pytest.raises(RuntimeError, match="corrupt"):
            entry.decode()


@pytest.fixture(scope="module")
def long_lived() -> Any:
    with GuardedDecoder(limits=Limits(read_samples=10_000, memory_bytes=1 << 30)) as decoder:
        yield decoder


@pytest.mark.parametrize("vbz", [False, True])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_no_damage_crashes_or_hangs_and_what_is_yielded_is_usable(
    vbz: bool, data: st.DataObject, long_lived: GuardedDecoder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(reads_to_stream([made_read(seed, 300) for seed in range(3)], vbz=vbz, batch_reads=2))
    for _ in range(data.draw(st.integers(1, 6), "flips")):
        content[data.draw(st.integers(4, len(content) - 1), "where")] = data.draw(st.integers(0, 255), "byte")
    path = stored(tmp_path_factory.mktemp("damaged"), bytes(content))
    for item in long_lived.decode(path, known_as=path):
        if isinstance(item, Read):
            assert why_unusable(item, 10_000) is None
        else:
            assert item.why
