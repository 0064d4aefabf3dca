"""Answers to many reads: each record is sent when its read is done, and what goes wrong is in the records."""

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pysam
import pytest
from live_service import (
    WAIT_S,
    GatedCaller,
    Running,
    TinyCaller,
    expected_sequence,
    of,
    random_signal,
    serving,
    wait_for,
)
from made_reads import made_read
from numpy.typing import NDArray

from reads.arrow_stream import reads_to_stream
from reads.read import Read

ARROW = "application/vnd.apache.arrow.stream"


def reads_of(*lengths: int) -> list[Read]:
    return [
        replace(made_read(seed), read_id=f"r{seed}", signal=random_signal(length, seed))
        for seed, length in enumerate(lengths)
    ]


@dataclass
class StickyCaller(TinyCaller):
    """Scores no batch with a sample of STUCK until told to; fails one with a sample of BROKEN."""

    STUCK = 20_000
    BROKEN = 30_000
    gate: threading.Event = field(default_factory=threading.Event)
    batch_chunks = 1

    def score(self, batch: NDArray[np.float32]) -> Any:
        if (batch == self.STUCK).any():
            assert self.gate.wait(WAIT_S)
        if (batch == self.BROKEN).any():
            raise RuntimeError("no such sample")
        return super().score(batch)


def marked(read: Read, sample: int) -> Read:
    signal = read.signal.copy()
    signal[0] = sample
    return replace(read, signal=signal)


@pytest.fixture
def streaming() -> Iterator[Any]:
    """Posts reads, and gives the answer once its head is there."""
    with ExitStack() as stack:

        def post(running: Running, reads: list[Read], accept: str, **headers: str) -> httpx.Response:
            client = stack.enter_context(running.client())
            fields = {"content-type": ARROW, "accept": accept, **headers}
            request = client.stream("POST", "/v1/basecall", content=reads_to_stream(reads), headers=fields)
            return stack.enter_context(request)

        yield post


def test_a_read_is_answered_while_others_are_still_being_called(streaming: Any) -> None:
    caller = StickyCaller()
    first, second, last = reads_of(100, 200, 100)
    with serving(of(caller)) as running:
        last = marked(last, caller.STUCK)
        response = streaming(running, [first, second, last], "application/x-ndjson")
        lines = response.iter_lines()
        called = [json.loads(next(lines)), json.loads(next(lines))]
        assert {answer["read_id"] for answer in called} == {"r0", "r1"}
        assert called[0]["sequence"] == expected_sequence(
            reads_of(100, 200)[int(called[0]["read_id"][1])].signal
        )
        wait_for(lambda: running.service.admission.backlog_samples("tiny") <= 200)
        caller.gate.set()
        assert [json.loads(line)["read_id"] for line in lines] == ["r2"]


def test_a_failed_engine_costs_the_reads_of_its_batch(streaming: Any) -> None:
    caller = StickyCaller()
    first, broken = reads_of(100, 200)
    with serving(of(caller)) as running:
        response = streaming(running, [first, marked(broken, caller.BROKEN)], "application/x-ndjson")
        answers = {answer["read_id"]: answer for answer in map(json.loads, response.iter_lines())}
        assert answers["r0"]["sequence"] and answers["r1"]["error"]["status"] == 500
        assert running.metric("fiveways_bases_total") == answers["r0"]["bases"]


def test_a_deadline_that_passes_is_in_the_records_of_the_rest(streaming: Any) -> None:
    caller = StickyCaller()
    first, last = reads_of(100, 100)
    with serving(of(caller)) as running:
        reads = [first, marked(last, caller.STUCK)]
        response = streaming(running, reads, "application/json", **{"x-deadline-ms": "3000"})
        answers = json.loads(response.read())
        caller.gate.set()
    assert [answer["read_id"] for answer in answers] == ["r0", "r1"]
    assert answers[0]["sequence"] and answers[1]["error"]["status"] == 504
    assert answers[1]["error"]["type"] == "urn:fiveways:problem:deadline"


def test_a_service_that_is_stopped_says_so_in_the_records_of_the_rest(streaming: Any) -> None:
    caller = StickyCaller()
    first, last = reads_of(100, 100)
    with serving(of(caller)) as running:
        response = streaming(running, [first, marked(last, caller.STUCK)], "application/x-ndjson")
        lines = response.iter_lines()
        assert json.loads(next(lines))["read_id"] == "r0"
        running.server.handle_exit(15, None)
        running.server.handle_exit(15, None)
        assert json.loads(next(lines))["error"]["status"] == 503
        assert list(lines) == []
        caller.gate.set()


def test_a_client_that_leaves_frees_what_is_left_of_its_reads(streaming: Any) -> None:
    caller = GatedCaller()
    with serving(of(caller)) as running:
        caller.gate.clear()
        with running.client() as client, pytest.raises(httpx.ReadTimeout):
            client.post(
                "/v1/basecall",
                content=reads_to_stream(reads_of(*[400] * 50)),
                headers={"content-type": ARROW},
                timeout=1.0,
            )
        wait_for(lambda: running.service.lifecycle.requests == 0)
        assert running.service.admission.backlog_samples("tiny") == 0
        caller.gate.set()
        assert running.call(random_signal(100)).status_code == 200


@pytest.fixture
def mixed() -> list[Read]:
    """Two reads that can be called, and between them one that cannot."""
    first, strange, last = reads_of(100, 100, 200)
    return [first, replace(strange, sample_rate=5000.0), last]


def test_arrow_has_a_row_a_read_with_its_status(running: Running, streaming: Any, mixed: list[Read]) -> None:
    response = streaming(running, mixed, ARROW)
    assert response.headers["content-type"] == ARROW
    rows = {row["read_id"]: row for row in pa.ipc.open_stream(response.read()).read_all().to_pylist()}
    assert [rows[read_id]["status"] for read_id in ("r0", "r1", "r2")] == [200, 422, 200]
    assert rows["r2"]["sequence"] == expected_sequence(mixed[2].signal)
    assert (rows["r2"]["samples"], rows["r2"]["stride"], sum(rows["r2"]["moves"])) == (200, 10, 20)
    assert rows["r1"]["error"] == "sampled at 5000 Hz, tiny takes 4000 Hz" and rows["r1"]["sequence"] is None


def test_fastq_has_a_record_without_bases_for_a_read_that_is_refused(
    running: Running, streaming: Any, mixed: list[Read]
) -> None:
    lines = streaming(running, mixed, "text/x-fastq").read().decode().split("\n")
    records = {lines[at].split("\t")[0]: lines[at : at + 4] for at in range(0, 12, 4)}
    assert records["@r1"] == ["@r1\ter:Z:422 sampled at 5000 Hz, tiny takes 4000 Hz", "", "+", ""]
    assert records["@r2"][1] == expected_sequence(mixed[2].signal)


def test_sam_has_one_header_and_flags_a_read_that_is_refused(
    running: Running, streaming: Any, mixed: list[Read]
) -> None:
    lines = streaming(running, mixed, "text/x-sam").read().decode().splitlines()
    assert [line[:3] for line in lines[:2]] == ["@HD", "@PG"] and len(lines) == 5
    records = {line.split("\t")[0]: line.split("\t") for line in lines[2:]}
    assert records["r1"][1] == "516" and records["r1"][9:] == [
        "*",
        "*",
        "er:Z:422 sampled at 5000 Hz, tiny takes 4000 Hz",
    ]
    assert records["r0"][1] == "4" and records["r0"][9] == expected_sequence(mixed[0].signal)


def test_the_forms_are_those_that_other_programs_read(
    running: Running, streaming: Any, mixed: list[Read], tmp_path: Any
) -> None:
    for accept, name in (("text/x-sam", "a.sam"), ("text/x-fastq", "a.fastq")):
        (tmp_path / name).write_bytes(streaming(running, mixed, accept).read())
    with pysam.AlignmentFile(str(tmp_path / "a.sam"), check_sq=False) as file:
        records = list(file.fetch(until_eof=True))
    found = {record.query_name: (record.is_qcfail, record.query_sequence) for record in records}
    assert found["r1"] == (True, None) and found["r0"] == (False, expected_sequence(mixed[0].signal))
    with pysam.FastxFile(str(tmp_path / "a.fastq")) as file:
        assert {record.name: record.sequence or "" for record in file}["r1"] == ""


def test_what_is_streamed_is_counted_read_by_read(
    running: Running, streaming: Any, mixed: list[Read]
) -> None:
    names = ("fiveways_bases_total", "fiveways_samples_total")
    before = [running.metric(name) for name in names]
    answers = json.loads(streaming(running, mixed, "application/json").read())
    counted = [running.metric(name) - was for name, was in zip(names, before, strict=True)]
    assert counted == [sum(answer.get("bases", 0) for answer in answers), 300]


def test_the_head_has_the_stages_so_far(running: Running, streaming: Any, mixed: list[Read]) -> None:
    timing = streaming(running, mixed, "application/json").headers["server-timing"]
    assert [part.split(";")[0] for part in timing.split(", ")] == [
        "receive",
        "queue",
        "compute",
        "decode",
        "total",
    ]
