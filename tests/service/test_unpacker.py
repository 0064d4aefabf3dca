"""Bodies of many reads, on a real socket: files and streams from anybody, within limits."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import h5py
import httpx
import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_service import WAIT_S, GatedCaller, Running, expected_sequence, of, random_signal, serving, wait_for
from made_reads import made_read

from reads.arrow_stream import reads_to_stream
from reads.read import Calibration, Read
from reads.writer import read_writer
from service.unpacker import DECODERS

ARROW, HDF5, POD5 = "application/vnd.apache.arrow.stream", "application/x-hdf5", "application/vnd.pod5"


def some_reads(count: int, samples: int = 500) -> list[Read]:
    return [
        replace(made_read(seed), signal=random_signal(samples + 10 * seed, seed)) for seed in range(count)
    ]


def file_of(reads: list[Read], path: Path) -> bytes:
    with read_writer(path) as writer:
        for read in reads:
            writer.write(read)
    return path.read_bytes()


def post(running: Running, body: bytes, kind: str, **headers: str) -> httpx.Response:
    with running.client() as client:
        return client.post("/v1/basecall", content=body, headers={"content-type": kind, **headers})


def bodies(reads: list[Read], folder: Path) -> dict[str, tuple[bytes, str]]:
    return {
        "arrow": (reads_to_stream(reads), ARROW),
        "vbz": (reads_to_stream(reads, vbz=True), ARROW),
        "fast5": (file_of(reads, folder / "a.fast5"), HDF5),
        "pod5": (file_of(reads, folder / "a.pod5"), POD5),
    }


@pytest.mark.parametrize("which", ["arrow", "vbz", "fast5", "pod5"])
def test_every_read_of_a_body_is_called_once(running: Running, tmp_path: Path, which: str) -> None:
    reads = some_reads(20)
    body, kind = bodies(reads, tmp_path)[which]
    response = post(running, body, kind)
    assert response.status_code == 200 and response.headers["content-type"] == "application/json"
    called = {answer["read_id"]: (answer["sequence"], answer["samples"]) for answer in response.json()}
    assert len(response.json()) == len(reads)
    assert called == {read.read_id: (expected_sequence(read.signal), len(read.signal)) for read in reads}


def test_what_a_file_says_of_a_read_is_in_its_record(running: Running, tmp_path: Path) -> None:
    body = file_of(some_reads(1), tmp_path / "a.pod5")
    (record,) = post(running, body, POD5, accept="text/x-fastq").text.splitlines()[:1]
    assert {"ch:i:1", "mx:i:1", "rn:i:100", "st:Z:2024-05-06T07:08:09.000+00:00"} <= set(record.split("\t"))
    assert "fn:Z:" not in record


def test_a_read_that_cannot_be_used_costs_no_other(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    good, strange, empty = some_reads(3)
    strange = replace(strange, sample_rate=5000.0)
    empty = replace(empty, signal=np.zeros(0, np.int16))
    misnamed = replace(good, read_id="@ä b")
    body = reads_to_stream([good, strange, empty, misnamed, good])
    answers = post(running, body, ARROW).json()
    told = {(answer["read_id"], answer.get("error", {}).get("detail", "")[:30]) for answer in answers}
    assert told == {
        (good.read_id, ""),
        (strange.read_id, "sampled at 5000 Hz, tiny takes"),
        (empty.read_id, "the signal is empty"),
        ("___b", "the read id '@ä b' cannot name"),
        (good.read_id, "a read of this id came before "),
    }
    assert {answer["error"]["status"] for answer in answers if "error" in answer} == {422}
    assert "request failed" not in caplog.text


def test_a_file_without_a_read_that_can_be_called_is_refused_whole(running: Running, tmp_path: Path) -> None:
    body = file_of([replace(read, sample_rate=5000.0) for read in some_reads(2)], tmp_path / "a.fast5")
    response = post(running, body, HDF5)
    assert response.status_code == 422
    assert "none of the 2 reads can be called" in response.json()["detail"]
    assert "5000 Hz" in response.json()["detail"]


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"", HDF5, "begins with b''"),
        (b"\x8bPOD\r\n\x1a\n and so on", HDF5, "is said to be application/x-hdf5"),
        (b"\x89HDF\r\n\x1a\n and so on", HDF5, "no reads that can be found"),
        (b"\x8bPOD\r\n\x1a\n and so on", POD5, "truncated"),
        (b"\xff\xff\xff\xff", ARROW, "no reads that can be found"),
        (reads_to_stream([]), ARROW, "no rows"),
    ],
)
def test_a_body_that_is_not_what_it_is_said_to_be_is_malformed(
    running: Running, body: bytes, kind: str, said: str
) -> None:
    response = post(running, body, kind)
    assert response.status_code == 400, response.text
    assert said in response.json()["detail"]


def test_what_is_lost_of_a_file_is_one_record_named_after_the_request(running: Running) -> None:
    reads = some_reads(4)
    body = reads_to_stream(reads, batch_reads=2)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    response = post(running, body[:-2000], ARROW, traceparent=f"00-{trace}-00f067aa0ba902b7-01")
    *called, lost = sorted(response.json(), key=lambda answer: "error" in answer)
    assert {answer["read_id"] for answer in called} == {read.read_id for read in reads[:2]}
    assert lost["read_id"].replace("-", "") == trace and lost["error"]["detail"].startswith("the rest: ")


def test_bombs_are_refused_at_the_limits_whatever_they_are_packed_in(tmp_path: Path) -> None:
    silence = np.zeros(1_000_000, np.int16)
    bomb = Read(made_read(1).read_id, silence, Calibration(0.0, 1.0), 4000.0)
    swarm = [replace(bomb, read_id=made_read(seed).read_id, signal=silence[:10_000]) for seed in range(2, 32)]
    with serving(max_read_samples=10_000, max_signal_mib=1, max_request_reads=29) as running:
        for name, (body, kind) in bodies([bomb], tmp_path).items():
            response = post(running, body, kind)
            if name == "arrow":
                assert response.status_code == 413
            else:
                assert len(body) < 100_000 and response.status_code == 422
                assert "1000000 samples long; 10000 is the most" in response.json()["detail"]
        for name, (body, kind) in bodies(swarm, tmp_path).items():
            response = post(running, body, kind)
            assert response.status_code == 413
            assert "65536 samples" in response.json()["detail"], name
        few = [replace(read, signal=silence[:10]) for read in swarm]
        response = post(running, reads_to_stream(few), ARROW)
        assert response.status_code == 413 and "more than 29 reads" in response.json()["detail"]
        assert running.call(random_signal(100)).status_code == 200
        wait_for(lambda: running.service.admission.backlog_samples("tiny") == 0)


def test_a_chunk_that_unpacks_to_more_than_it_says_is_refused(running: Running, tmp_path: Path) -> None:
    path = tmp_path / "a.fast5"
    (read,) = some_reads(1)
    file_of([read], path)
    with h5py.File(path, "a") as file:
        raw = file[f"read_{read.read_id}/Raw"]
        del raw["Signal"]
        bomb = raw.create_dataset("Signal", (100,), np.int16, chunks=(100,), compression="gzip")
        # One chunk of 100 samples, whose bytes are those of many more.
        import zlib  # noqa: PLC0415 - what the bomb is made of

        bomb.id.write_direct_chunk((0,), zlib.compress(bytes(100 << 20), 1))
    response = post(running, path.read_bytes(), HDF5)
    assert response.status_code in {200, 422}
    with running.client() as client:
        assert client.get("/healthz").status_code == 200


def test_memory_that_lacks_for_what_is_unpacked_is_a_503_and_comes_free_again(tmp_path: Path) -> None:
    caller = GatedCaller()
    with serving(of(caller), max_read_samples=100_000, max_signal_mib=8) as running:
        reads = [replace(read, signal=np.zeros(100_000, np.int16)) for read in some_reads(5)]
        body = reads_to_stream(reads, vbz=True)
        with ThreadPoolExecutor() as pool:
            caller.gate.clear()
            first = pool.submit(post, running, body, ARROW)
            assert caller.waiting.wait(WAIT_S)
            refused = post(running, body, ARROW)
            assert refused.status_code == 503 and int(refused.headers["retry-after"]) >= 1
            caller.gate.set()
            assert len(first.result(WAIT_S).json()) == 5
        wait_for(lambda: running.service.admission.backlog_samples("tiny") == 0)


def test_a_decoder_that_is_killed_does_not_take_the_service_down(running: Running, tmp_path: Path) -> None:
    reads = some_reads(8, 100_000)
    body = file_of(reads, tmp_path / "a.fast5")
    assert len(post(running, body, HDF5).json()) == 8
    decoders = [decoder for decoder in running.service.unpacker._decoders if decoder.pid]
    assert decoders
    with ThreadPoolExecutor() as pool:
        answered = threading.Event()

        def kill() -> None:
            while not answered.wait(0.05):
                for decoder in decoders:
                    if decoder.pid:
                        os.kill(decoder.pid, signal.SIGSEGV)

        pool.submit(kill)
        response = post(running, body, HDF5)
        answered.set()
    assert response.status_code in {200, 400, 422}
    assert len(post(running, body, HDF5).json()) == 8


def test_a_service_that_ends_leaves_no_decoder() -> None:
    with serving() as running:
        assert post(running, reads_to_stream(some_reads(1)), ARROW).status_code == 200
        pids = [decoder.pid for decoder in running.service.unpacker._decoders if decoder.pid]
        assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, str]]:
    return bodies(some_reads(3, 100), tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("which", ["arrow", "vbz", "fast5", "pod5"])
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damage_is_an_answer_or_a_refusal_and_leaves_nothing(
    which: str, data: st.DataObject, running: Running, whole: dict[str, tuple[bytes, str]]
) -> None:
    body, kind = whole[which]
    content = bytearray(body)
    for _ in range(data.draw(st.integers(1, 8), "flips")):
        content[data.draw(st.integers(0, len(content) - 1), "where")] = data.draw(st.integers(0, 255), "byte")
    response = post(running, bytes(content), kind)
    assert response.status_code in {200, 400, 422}, response.text
    if response.status_code == 200:
        assert response.json()
    wait_for(lambda: running.service.lifecycle.requests == 0)
    assert running.service.admission.backlog_samples("tiny") == 0


def test_damaged_bodies_leave_no_file_descriptor_and_no_process(
    running: Running, whole: dict[str, tuple[bytes, str]]
) -> None:
    def held() -> tuple[int, int]:
        wait_for(lambda: running.service.lifecycle.requests == 0)
        service = psutil.Process()
        # Other tests' processes, in a run of many, are not ours to count.
        decoders = [child for child in service.children() if "reads.decoder" in child.cmdline()]
        return service.num_fds(), len(decoders)

    for body, kind in whole.values():
        assert post(running, body, kind).status_code == 200
    before = held()
    for body, kind in whole.values():
        for length in (len(body) // 3, len(body) // 2, len(body) - 9):
            post(running, body[:length], kind)
    for body, kind in whole.values():
        assert post(running, body, kind).status_code == 200
    after = held()
    # A decoder has four descriptors here, and one may have been started meanwhile, or closed.
    assert after[1] <= DECODERS and after[0] <= before[0] + 4 * DECODERS


def test_real_files_are_called_with_one_command(running: Running, shared: Path) -> None:
    for name, kind in (("fast5_multi/gzip_r9.fast5", HDF5), ("fast5_multi/vbz.fast5", HDF5)):
        answers = post(running, (shared / "formats" / name).read_bytes(), kind).json()
        assert len(answers) in {8, 10} and all(answer["bases"] for answer in answers)
