"""POST /v1/basecall on a real socket: the wire's promises, with a small deterministic model."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from live_service import Running, call, expected_sequence, random_signal, serving

from models.null import SAMPLES_PER_BASE

OCTETS = {"content-type": "application/octet-stream"}


def problem(response: httpx.Response, status: int) -> dict[str, str]:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, str] = response.json()
    assert document["title"] and document["status"] == status
    return document


@pytest.mark.parametrize("samples", [10, 190, 200, 210, 1000, 12340])
def test_a_read_of_any_length_is_called_whole(running: Running, samples: int) -> None:
    signal = random_signal(samples, seed=samples)
    response = running.call(signal, params={"read_id": "r1", "sample_rate": 4000})
    assert response.status_code == 200
    answer = response.json()
    sequence = expected_sequence(signal)
    assert answer == {
        "model": "tiny",
        "read_id": "r1",
        "samples": samples,
        "bases": len(sequence),
        "sequence": sequence,
        "qstring": "5" * len(sequence),
        "mean_q": 20.0,
    }


def test_one_sample_is_a_read(running: Running) -> None:
    answer = running.call(np.array([5], np.int16)).json()
    assert (answer["samples"], answer["bases"]) == (1, 1)


def test_ten_million_samples_are_a_read(running: Running) -> None:
    signal = np.tile(random_signal(10_000), 1000)
    answer = running.call(signal).json()
    assert answer["samples"] == 10_000_000
    assert answer["sequence"] == expected_sequence(signal)


def test_answers_do_not_depend_on_the_company_in_a_batch(running: Running) -> None:
    signals = [random_signal(10 * (1 + 37 * n % 400), seed=n) for n in range(60)]
    with ThreadPoolExecutor(12) as pool, running.client() as client:
        answers = list(pool.map(lambda signal: call(client, signal).json(), signals))
    assert [answer["sequence"] for answer in answers] == [expected_sequence(signal) for signal in signals]


def test_the_null_arm_is_served_beside_the_model(running: Running) -> None:
    answer = running.call(random_signal(900), params={"model": "null"}).json()
    assert (answer["model"], answer["samples"], answer["bases"]) == ("null", 900, 900 // SAMPLES_PER_BASE)


def test_server_timing_has_every_stage_of_answers_and_of_refusals(running: Running) -> None:
    for response in (running.call(random_signal(500)), running.call(random_signal(0))):
        stages = re.findall(r"(\w+);dur=(\d+\.\d+)", response.headers["server-timing"])
        assert [stage for stage, _ in stages] == ["receive", "queue", "compute", "decode", "total"]
        told = {stage: float(ms) for stage, ms in stages}
        assert sum(told.values()) - told["total"] <= told["total"] + 0.01


def test_a_read_is_answered_as_fastq(running: Running) -> None:
    signal = random_signal(100)
    response = running.call(signal, params={"read_id": "r1"}, headers={"accept": "text/x-fastq"})
    assert response.headers["content-type"] == "text/x-fastq"
    title, sequence, plus, qualities = response.text.splitlines()
    assert (title.split("\t")[0], plus, qualities) == ("@r1", "+", "5" * 10)
    assert sequence == expected_sequence(signal)


def test_a_read_is_answered_as_sam(running: Running) -> None:
    signal = random_signal(100)
    response = running.call(signal, params={"read_id": "r1"}, headers={"accept": "text/x-sam"})
    record = response.text.splitlines()[-1].split("\t")
    assert record[:11] == ["r1", "4", "*", "0", "0", "*", "*", "0", "0", expected_sequence(signal), "5" * 10]
    assert "mv:B:c,10," + ",".join("1" * 10) in record


def test_parameters_are_taken_from_headers_as_well(running: Running) -> None:
    headers = {
        "x-model": "null",
        "x-read-id": "h1",
        "x-sample-rate": "5000",
        "x-offset": "6",
        "x-scale": "0.2",
    }
    answer = running.call(random_signal(90), headers=headers).json()
    assert (answer["model"], answer["read_id"]) == ("null", "h1")


def test_an_unnamed_read_is_named_after_its_request(running: Running) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    response = running.call(random_signal(10), headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"})
    assert response.json()["read_id"] == "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"
    assert re.fullmatch(f"00-{trace_id}-[0-9a-f]{{16}}-01", response.headers["traceparent"])


def test_a_body_without_a_length_is_called(running: Running) -> None:
    signal = random_signal(30_000)
    pieces = (signal[at : at + 1111].tobytes() for at in range(0, len(signal), 1111))
    with running.client() as client:
        answer = client.post("/v1/basecall", content=pieces, headers=OCTETS).json()
    assert answer["sequence"] == expected_sequence(signal)


def test_a_json_body_is_called(running: Running) -> None:
    signal = random_signal(100)
    body = {"read_id": "j1", "signal": signal.tolist(), "sample_rate": 4000}
    with running.client() as client:
        answer = client.post("/v1/basecall", json=body).json()
    assert (answer["read_id"], answer["sequence"]) == ("j1", expected_sequence(signal))


def test_a_json_body_too_large_for_the_event_loop_is_called(running: Running) -> None:
    signal = random_signal(100_000)
    with running.client() as client:
        answer = client.post("/v1/basecall", json={"signal": signal.tolist()}).json()
    assert answer["sequence"] == expected_sequence(signal)


def test_what_is_said_before_the_body_and_in_it_is_refused(running: Running) -> None:
    with running.client() as client:
        response = client.post("/v1/basecall?read_id=a", json={"signal": [1], "read_id": "b"})
    assert "read_id" in problem(response, 400)["detail"]


@pytest.mark.parametrize(
    ("content", "headers", "query", "status", "said"),
    [
        (b"", {}, "", 400, "empty"),
        (b"abc", {}, "", 400, "3 bytes"),
        (b"ab", {"content-type": "text/plain"}, "", 415, "application/octet-stream"),
        (b"ab", {"content-type": "application/x-www-form-urlencoded"}, "", 415, "curl"),
        (b"ab", {"content-encoding": "gzip"}, "", 415, "gzip"),
        (b"ab", {"accept": "image/png"}, "", 406, "text/x-fastq"),
        (b"ab", {}, "?model=nobody", 404, "tiny, null"),
        (b"ab", {}, "?sample_rate=5000", 422, "5000 Hz"),
        (b"ab", {}, "?sample_rate=fast", 400, "fast"),
        (b"ab", {}, "?scale=0", 422, "scale"),
        (b"ab", {}, "?read_id=a%20b", 422, "read_id"),
        (b"ab", {}, "?samplerate=4000", 400, "sample_rate"),
        (b"ab", {}, "?model=null&model=tiny", 400, "twice"),
        (b"ab", {"x-model": "null"}, "?model=tiny", 400, "x-model"),
        (b"ab", {"x-priority": "urgent"}, "", 400, "high, normal, low"),
        (b"ab", {"x-deadline-ms": "soon"}, "", 400, "soon"),
        (b"ab", {"x-deadline-ms": "-1"}, "", 422, "above 0"),
        (b"{", {"content-type": "application/json"}, "", 400, "JSON"),
        (b"[1]", {"content-type": "application/json"}, "", 400, "signal"),
        (b'{"signal": [70000]}', {"content-type": "application/json"}, "", 422, "int16"),
        (b'{"signal": [1], "sample_rate": 1}', {"content-type": "application/json"}, "", 422, "1 Hz"),
    ],
)
def test_a_refusal_says_what_is_wrong_and_what_would_be_right(
    running: Running, content: bytes, headers: dict[str, str], query: str, status: int, said: str
) -> None:
    with running.client() as client:
        response = client.post("/v1/basecall" + query, content=content, headers={**OCTETS, **headers})
    assert said in problem(response, status)["detail"]


def test_a_path_or_method_that_is_not_there_is_a_problem_too(running: Running) -> None:
    with running.client() as client:
        problem(client.get("/v1/nothing"), 404)
        assert (
            problem(client.get("/v1/basecall"), 405) and client.get("/v1/basecall").headers["allow"] == "POST"
        )


def test_bases_and_samples_are_counted_as_they_are_answered(running: Running) -> None:
    names = ("fiveways_bases_total", "fiveways_samples_total")
    before = [running.metric(name) for name in names]
    signals = [random_signal(500 + 10 * n, seed=n) for n in range(20)]
    with running.client() as client:
        answers = [
            call(client, signal, params={"model": ["tiny", "null"][n % 2]})
            for n, signal in enumerate(signals)
        ]
    counted = [running.metric(name) - was for name, was in zip(names, before, strict=True)]
    bases = sum(response.json()["bases"] for response in answers)
    assert counted == [bases, sum(len(signal) for signal in signals)]


def test_tokens_are_asked_for_where_there_is_a_file_of_them(tokens_file: Path) -> None:
    with serving(tokens=tokens_file) as one:
        signal = random_signal(10)
        refused = one.call(signal)
        assert refused.headers["www-authenticate"] == "Bearer"
        problem(refused, 401)
        problem(one.call(signal, headers={"authorization": "Bearer sesam"}), 401)
        assert one.call(signal, headers={"authorization": "Bearer sesame"}).status_code == 200
        with one.client() as client:
            assert client.get("/readyz").status_code == 200
