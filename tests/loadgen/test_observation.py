"""What an observation promises: it survives its file, and says by itself why it does not count."""

from dataclasses import replace
from pathlib import Path as File

import orjson
import pytest

from loadgen.observation import Observation, append_observation, client_limit, gated, read_observations
from loadgen.tally import Tally
from loadgen.window import Window


def tally(answers: int = 10) -> Tally:
    made = Tally()
    for number in range(answers):
        made.add_answer(
            bases=100,
            samples=900,
            request_bytes=1800,
            response_bytes=220,
            client_ms=10.0 + number,
            stage_ms={"total": 8.0},
        )
    return made


GOOD = Observation(
    round=2,
    position=1,
    path="vxlan/clusterip",
    arm="model",
    users=8,
    started_s=1.7e9,
    window_s=2.0,
    elapsed_s=3.25,
    spread_bases=1050.0,
    spread_samples=9450.0,
    window=tally(10),
    total=tally(14),
    client_cpu_s=0.5,
    busiest_client=0.2,
    server_cpu_s=2.9,
    server_bases=1400,
)


def passed(observation: Observation) -> Observation:
    return gated(observation, most_lag_ms=20.0, most_skew_s=0.1)


def test_results_are_rates_of_the_window_and_quantiles_of_its_latencies() -> None:
    assert GOOD.bases_per_s == 525.0
    assert GOOD.samples_per_s == 4725.0
    assert GOOD.p50_ms == pytest.approx(14.0, rel=0.01)
    assert GOOD.p99_ms == pytest.approx(19.0, rel=0.01)


def test_observations_survive_their_file(tmp_path: File) -> None:
    file = tmp_path / "blocks.jsonl"
    pieces = (Window(tally(4), 400.0, 3600.0), Window(tally(6), 650.0, 5850.0))
    void = replace(GOOD, windows=pieces, server_bases=None, server_cpu_s=None, voids=("no reason",))
    append_observation(GOOD, file)
    counted = replace(GOOD, softirq_s=0.25, segments=4000, retransmits=2)
    for observation in (void, counted):
        append_observation(observation, file)
    assert list(read_observations(file)) == [GOOD, void, counted]


def test_observations_of_a_time_when_the_kernel_was_not_asked_are_read(tmp_path: File) -> None:
    file = tmp_path / "blocks.jsonl"
    line = {name: value for name, value in orjson.loads(GOOD.to_json()).items() if name != "softirq_s"}
    file.write_bytes(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
    assert list(read_observations(file)) == [GOOD]


def test_a_line_says_the_results_to_readers_that_do_not_compute_them() -> None:
    line = orjson.loads(GOOD.to_json())
    assert line["bases_per_s"] == 525.0
    assert line["p99_ms"] == GOOD.p99_ms


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: File) -> None:
    file = tmp_path / "blocks.jsonl"
    file.write_bytes(GOOD.to_json() + GOOD.to_json()[:50])
    assert list(read_observations(file)) == [GOOD]


def test_a_block_that_passes_every_gate_counts() -> None:
    assert passed(GOOD) == GOOD


def test_bases_that_only_one_side_counted_void_a_block() -> None:
    (reason,) = passed(replace(GOOD, server_bases=1500)).voids
    assert reason == "the server called 1500 bases, the clients received 1400"


def test_bases_that_the_server_does_not_count_void_a_block() -> None:
    (reason,) = passed(replace(GOOD, server_bases=None)).voids
    assert "does not count" in reason


def test_failures_void_a_block_with_the_most_frequent_reason() -> None:
    total = tally(14)
    for reason in ("cut off", "503 busy", "503 busy"):
        total.add_failure(reason)
    (void,) = passed(replace(GOOD, total=total)).voids
    assert void == "3 of 17 requests failed; 2 times: 503 busy"


def test_a_window_without_answers_voids_a_block() -> None:
    (reason,) = passed(replace(GOOD, window=Tally(), spread_samples=0.0)).voids
    assert reason == "no request of the window was answered"


def test_requests_longer_than_the_window_are_no_reason() -> None:
    assert passed(replace(GOOD, window=Tally())).voids == ()


def test_a_saturated_client_voids_a_block_only_where_the_server_had_time() -> None:
    (reason,) = passed(replace(GOOD, busiest_client=0.95, server_cpu_s=1.0)).voids
    assert "saturated" in reason
    assert passed(replace(GOOD, busiest_client=0.95, server_cpu_s=3.2)).voids == ()
    assert passed(replace(GOOD, busiest_client=0.95, server_cpu_s=None)).voids != ()


def test_reasons_that_were_there_are_kept() -> None:
    assert passed(replace(GOOD, voids=("an earlier reason",), server_bases=0)).voids[0] == "an earlier reason"


def open_tally(lag_ms: float, requests: int = 200) -> Tally:
    made = Tally()
    for number in range(requests):
        made.add_answer(
            bases=7,
            samples=63,
            request_bytes=126,
            response_bytes=20,
            client_ms=10.0,
            stage_ms={"total": 8.0},
            lag_ms=lag_ms if number % 50 == 0 else 0.1,
        )
    return made


def test_a_client_that_lags_behind_its_schedule_is_measured_itself() -> None:
    late = open_tally(lag_ms=30.0)
    assert client_limit(open_tally(lag_ms=15.0), 20.0) == ""
    assert client_limit(late, 20.0).startswith("client-limited: 1 % of the requests started")
    (reason,) = passed(replace(GOOD, window=late, total=late, server_bases=late.bases)).voids
    assert reason == client_limit(late, 20.0)


def test_a_request_that_could_not_be_started_limits_the_client_however_few_they_are() -> None:
    tally = open_tally(lag_ms=0.1)
    tally.unstarted = 1
    assert client_limit(tally, 20.0) == "client-limited: 1 requests were due and not started; add workers"


def test_a_pause_of_the_garbage_collector_voids_a_block() -> None:
    assert passed(replace(GOOD, gc_pause_s=0.039)).voids == ()
    (reason,) = passed(replace(GOOD, gc_pause_s=0.045)).voids
    assert reason == (
        "the garbage collector held a process of the load generator for 45 ms, of which 40 ms are allowed"
    )


def test_workers_that_began_far_apart_void_a_block() -> None:
    (reason,) = passed(replace(GOOD, skew_s=0.15)).voids
    assert reason == "the workers may have begun 150 ms apart, of which 100 ms are allowed"


def test_what_was_written_before_there_were_open_loops_is_read() -> None:
    line = orjson.loads(GOOD.to_json())
    new = ("arrival_rate", "gc_pause_s", "skew_s", "windows")
    tallies = {
        name: {word: value for word, value in line[name].items() if word not in {"lag", "service", "checked"}}
        for name in ("window", "total")
    }
    old = {name: value for name, value in line.items() if name not in new} | tallies
    assert Observation.from_plain(old) == GOOD
