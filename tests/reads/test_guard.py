import fcntl
import os
import signal
import termios
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_reads import assert_same, made_read
from made_slow5 import write_slow5

from reads.errors import ReadError, ReadFileError
from reads.fast5 import Fast5Writer
from reads.guard import GuardedDecoder
from reads.limits import Limits
from reads.pod5_file import Pod5Writer
from reads.read import Read
from reads.validity import why_unusable

LONG = 500_000
"""Samples: more than a pipe holds, so that the decoder waits in the middle of a read."""


def write(path: Path, reads: list[Read]) -> Path:
    with Fast5Writer(path) if path.suffix == ".fast5" else Pod5Writer(path) as writer:
        for read in reads:
            writer.write(read)
    return path


def by_id(seeds: range, samples: int) -> list[Read]:
    """Return made reads in the order in which a fast5 has them."""
    return sorted((made_read(seed, samples) for seed in seeds), key=lambda read: read.read_id)


def wait_until_read_is_under_way(decoder: GuardedDecoder) -> None:
    """Wait until more than an announcement of a read lies in the decoder's pipe."""
    deadline = time.monotonic() + 60
    waiting = array("i", [0])
    while waiting[0] < 10_000:
        assert time.monotonic() < deadline
        time.sleep(0.01)
        fcntl.ioctl(decoder._answers, termios.FIONREAD, waiting)


@pytest.fixture
def decoder() -> Iterator[GuardedDecoder]:
    with GuardedDecoder() as decoder:
        yield decoder


@pytest.mark.parametrize("name", ["a.fast5", "a.pod5"])
def test_reads_arrive_whole(tmp_path: Path, decoder: GuardedDecoder, name: str) -> None:
    reads = by_id(range(3), LONG)
    path = write(tmp_path / name, reads)
    for got, read in zip(decoder.decode(path, known_as=path), reads, strict=True):
        assert isinstance(got, Read)
        assert_same(got, read, name)


def test_one_process_decodes_file_after_file(tmp_path: Path, decoder: GuardedDecoder) -> None:
    path = write(tmp_path / "a.fast5", by_id(range(2), 100))
    assert len(list(decoder.decode(path, known_as=path))) == 2
    first = decoder.pid
    assert len(list(decoder.decode(path, known_as=path))) == 2
    assert decoder.pid == first


def test_the_memory_that_damage_can_ask_for_is_limited(tmp_path: Path, decoder: GuardedDecoder) -> None:
    path = write(tmp_path / "a.fast5", by_id(range(1), 100))
    list(decoder.decode(path, known_as=path))
    limits = Path(f"/proc/{decoder.pid}/limits").read_text().splitlines()
    (data,) = (line.split()[3] for line in limits if line.startswith("Max data size"))
    libraries_bytes = int(data) - Limits().memory_bytes
    assert 0 < libraries_bytes < 4 << 30


def test_only_selected_reads_are_decoded(tmp_path: Path) -> None:
    reads = by_id(range(3), 100)
    path = write(tmp_path / "a.fast5", reads)
    with GuardedDecoder({reads[1].read_id}) as decoder:
        (got,) = decoder.decode(path, known_as=path)
    assert isinstance(got, Read)
    assert_same(got, reads[1], "a.fast5")


def test_a_crash_costs_the_read_it_happened_in(tmp_path: Path, decoder: GuardedDecoder) -> None:
    reads = by_id(range(4), LONG)
    path = write(tmp_path / "a.fast5", reads)
    found = decoder.decode(path, known_as=Path("known"))
    assert_same(next(found), reads[0], "a.fast5")  # type: ignore[arg-type]
    assert decoder.pid is not None
    wait_until_read_is_under_way(decoder)
    os.kill(decoder.pid, signal.SIGSEGV)
    lost = next(found)
    assert isinstance(lost, ReadError)
    assert str(lost) == f"known: {reads[1].read_id}: the decoder crashed (SIGSEGV)"
    for got, read in zip(found, reads[2:], strict=True):
        assert_same(got, read, "a.fast5")  # type: ignore[arg-type]


def test_a_crash_between_files_costs_nothing(tmp_path: Path, decoder: GuardedDecoder) -> None:
    path = write(tmp_path / "a.fast5", by_id(range(2), 100))
    list(decoder.decode(path, known_as=path))
    assert decoder._process is not None
    decoder._process.kill()
    decoder._process.wait()
    assert [type(item) for item in decoder.decode(path, known_as=path)] == [Read, Read]


def test_a_decoder_that_hangs_is_ended(tmp_path: Path) -> None:
    hanging = tmp_path / "hanging.fast5"
    os.mkfifo(hanging)  # opening it waits for a writer, for ever
    good = write(tmp_path / "a.fast5", by_id(range(2), 100))
    with GuardedDecoder(stall_s=3) as decoder:
        (lost,) = decoder.decode(hanging, known_as=hanging)
        assert str(lost) == f"{hanging}: the decoder said nothing for 3 s"
    with GuardedDecoder() as decoder:
        assert len(list(decoder.decode(good, known_as=good))) == 2


def test_a_library_that_kills_the_process_is_quoted(tmp_path: Path, decoder: GuardedDecoder) -> None:
    path = write_slow5(tmp_path / "a.slow5", by_id(range(2), 100))
    path.write_text(path.read_text().replace("@run_id", "run_id"))
    (lost,) = decoder.decode(path, known_as=path)
    assert isinstance(lost, ReadFileError)
    assert "Malformed slow5 header" in lost.why


def test_a_file_left_in_the_middle_does_not_disturb_the_next(tmp_path: Path, decoder: GuardedDecoder) -> None:
    left = write(tmp_path / "left.fast5", by_id(range(3), LONG))
    reads = by_id(range(10, 12), LONG)
    path = write(tmp_path / "a.fast5", reads)
    found = decoder.decode(left, known_as=left)
    next(found)
    found.close()  # type: ignore[attr-defined]
    for got, read in zip(decoder.decode(path, known_as=path), reads, strict=True):
        assert_same(got, read, "a.fast5")  # type: ignore[arg-type]


def test_closing_leaves_no_process(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fast5", by_id(range(2), LONG))
    with GuardedDecoder() as decoder:
        found = decoder.decode(path, known_as=path)
        next(found)
        pid = decoder.pid
    assert pid is not None
    assert decoder.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes of one good file of each format, by suffix."""
    folder = tmp_path_factory.mktemp("whole")
    reads = by_id(range(4), 500)
    contents = {}
    for suffix in (".fast5", ".pod5"):
        contents[suffix] = write(folder / f"a{suffix}", reads).read_bytes()
    contents[".blow5"] = write_slow5(folder / "a.blow5", reads).read_bytes()
    return contents


@pytest.fixture(scope="module")
def long_lived() -> Iterator[GuardedDecoder]:
    with GuardedDecoder() as decoder:
        yield decoder


@pytest.mark.parametrize("suffix", [".fast5", ".pod5", ".blow5"])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_damage_crashes_or_hangs_and_what_is_yielded_is_usable(
    suffix: str,
    data: st.DataObject,
    whole: dict[str, bytes],
    long_lived: GuardedDecoder,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    content = bytearray(whole[suffix])
    if data.draw(st.booleans(), "truncate"):
        del content[data.draw(st.integers(0, len(content) - 1), "length") :]
    else:
        places = st.one_of(
            st.integers(0, len(content) - 1),
            st.integers(0, 2000),
            st.integers(len(content) - 2000, len(content) - 1),
        )
        for _ in range(data.draw(st.integers(1, 8), "flips")):
            content[data.draw(places, "where")] = data.draw(st.integers(0, 255), "byte")
    path = tmp_path_factory.mktemp("damaged") / f"a{suffix}"
    path.write_bytes(content)
    for item in long_lived.decode(path, known_as=path):
        if isinstance(item, Read):
            assert why_unusable(item) is None
        else:
            assert str(item).startswith(f"{path}: ")
            assert "\n" not in str(item)
