"""What the locustfile promises, of real locust processes and a real service: exact totals, told failures,
plans that are played and broken off cleanly, and bases per second wherever locust shows figures.
"""

import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path as File
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from browser import browsing
from wire_server import PATIENCE_S, Reply, WireServer, right_answer, serving, unhurried_answer

from loadgen.bodies import ReadSource, prepare_bodies
from loadgen.observation import Observation, read_observations
from loadgen.paths import Path
from loadgen.plan import Plan, write_plan

REPOSITORY = File(__file__).parents[2]
LOCUST = [sys.executable, "-m", "locust", "-f", "loadgen/basecall.py"]
EXITS_WITHIN_S = 90.0


@pytest.fixture
def server() -> Iterator[WireServer]:
    with serving() as server:
        server.answer = unhurried_answer
        yield server


@contextmanager
def locust(*arguments: str | File) -> Iterator["subprocess.Popen[str]"]:
    """Start locust in a process group of its own."""
    process = subprocess.Popen(
        [*LOCUST, *map(str, arguments)],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Wait for locust's end; return its exit status and what it said."""
    said, _ = process.communicate(timeout=EXITS_WITHIN_S)
    return process.returncode, said


def run(*arguments: str | File) -> tuple[int, str]:
    with locust(*arguments) as process:
        return ended(process)


def totals(said: str) -> dict[str, int]:
    """Return the totals of the final table."""
    rows = re.findall(r"^(bases|samples|answers|failures \(503\)) +([\d,]+)", said, re.MULTILINE)
    return {name.split()[0]: int(count.replace(",", "")) for name, count in rows}


def a_plan(*urls: str, **changes: Any) -> Plan:
    paths = tuple(Path(f"path-{number}", "host", "host-ip", url) for number, url in enumerate(urls))
    plan = Plan(
        paths,
        rounds=2,
        users={"model": 2, "null": 3},
        block_s=0.4,
        settle_s=0.1,
        drain_s=10.0,
        reads=ReadSource(simulated=16, mean_bases=200),
    )
    return replace(plan, **changes)


def told_to_end(process: "subprocess.Popen[str]") -> tuple[int, str]:
    process.terminate()
    return ended(process)


def assert_totals_are_those_of(server: WireServer, said: str) -> None:
    assert totals(said) == {
        "bases": server.answered_bases,
        "samples": server.answered_samples,
        "answers": server.answered,
        "failures": 0,
    }
    assert server.answered > 0


def test_a_headless_run_shows_bases_per_second_and_exact_totals(server: WireServer) -> None:
    status, said = run("--host", server.url, "--headless", "-u", "4", "-r", "4", "-t", "3s")
    assert status == 0, said
    assert re.search(r"^[1-9][\d,]* bases/s \(mean [1-9]", said, re.MULTILINE), "no live line"
    assert_totals_are_those_of(server, said)


def test_the_counts_of_two_processes_add_up_to_those_of_the_server(server: WireServer) -> None:
    with locust("--host", server.url, "--headless", "-u", "4", "-r", "4", "--processes", "2") as process:
        server.wait_for_requests(300)
        status, said = told_to_end(process)
    assert status == 0, said
    assert_totals_are_those_of(server, said)


def test_ctrl_c_loses_no_count_of_any_process(server: WireServer) -> None:
    with locust("--host", server.url, "--headless", "-u", "4", "-r", "4", "--processes", "2") as process:
        server.wait_for_requests(100)
        os.killpg(process.pid, signal.SIGINT)
        status, said = ended(process)
    assert status == 0, said
    assert_totals_are_those_of(server, said)


def test_workers_of_a_master_add_up_too(server: WireServer) -> None:
    port = str(free_port())
    master = ("--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port)
    worker = ("--worker", "--master-host", "127.0.0.1", "--master-port", port)
    run_of_two = ("--host", server.url, "--headless", "-u", "2", "-r", "2", "--expect-workers", "2")
    with locust(*master, *run_of_two) as process, locust(*worker), locust(*worker):
        server.wait_for_requests(100)
        status, said = told_to_end(process)
    assert status == 0, said
    assert_totals_are_those_of(server, said)


def test_a_worker_without_the_reads_it_is_asked_for_makes_the_run_fail(server: WireServer) -> None:
    port = str(free_port())
    master = ("--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port)
    a_run = ("--host", server.url, "--headless", "--expect-workers", "1", "-t", "2s")
    with (
        locust(*master, *a_run, "--reads", "/nowhere/reads") as process,
        locust("--worker", "--master-host", "127.0.0.1", "--master-port", port) as worker,
    ):
        status, said = ended(process)
        _, worker_said = ended(worker)
    assert status == 1, said
    assert "/nowhere/reads: there is no such file" in worker_said
    assert server.requests == []


def test_wrong_answers_are_failures_that_say_what_is_wrong(server: WireServer) -> None:
    def answer(samples: int, query: dict[str, str]) -> Reply:
        return right_answer(samples + 9, query)

    server.answer = answer
    with locust("--host", server.url, "--headless", "-u", "1") as process:
        server.wait_for_requests(3)
        status, said = told_to_end(process)
    assert status == 1, said
    assert "wrong answer: samples is" in said
    assert totals(said)["failures"] == server.answered
    assert totals(said)["bases"] == 0


def test_a_user_who_is_turned_away_stays_away_as_long_as_asked(server: WireServer) -> None:
    server.answer = lambda *_: Reply({"title": "Busy"}, status=503, headers={"Retry-After": "60"})
    status, said = run("--host", server.url, "--headless", "-u", "3", "-r", "3", "-t", "2s")
    assert status == 1, said
    assert "503 Busy" in said
    assert len(server.requests) == 3


def test_pieces_models_and_connections_are_as_asked_for(server: WireServer) -> None:
    options = ("--chunk-samples", "4000", "--model", "null", "--connection", "new")
    with locust("--host", server.url, "--headless", "-u", "2", *options) as process:
        server.wait_for_requests(20)
        status, said = told_to_end(process)
    assert status == 0, said
    assert {request["model"] for request in server.requests} == {"null"}
    assert all(":" in request["read_id"] for request in server.requests)
    assert server.connections == len(server.requests)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--reads", "/nowhere/reads"), "/nowhere/reads: there is no such file"),
        (("--reads", "/nowhere/reads", "--processes", "2"), "/nowhere/reads: there is no such file"),
        (("--plan", "/nowhere/plan.json", "--observations", "x.jsonl"), "/nowhere/plan.json"),
        (("--plan", "/nowhere/plan.json"), "/nowhere/plan.json"),
        (("--expected", "/nowhere/calls.fastq"), "/nowhere/calls.fastq"),
        (("--paths", "/nowhere/paths.toml"), "/nowhere/paths.toml"),
        (("--path", "host"), "'host' is not NAME=URL"),
        (("--find", "peak"), "--find peak needs an objective: --slo-p99-ms"),
        (("--arrival-rate", "-1"), "-1 is not at least 0"),
        (("--host", "10.0.0.7:8000"), "--host: '10.0.0.7:8000' is no URL to dial"),
        (("--host", ""), "nowhere to send to: name --host"),
    ],
)
def test_what_makes_no_sense_ends_with_a_reason(arguments: tuple[str, ...], why: str) -> None:
    status, said = run("--host", "http://127.0.0.1:1", "--headless", "-t", "1s", *arguments)
    assert status == 2, said
    assert why in said
    assert "Traceback" not in said


@pytest.mark.parametrize("processes", [(), ("--processes", "2")], ids=["one process", "two workers"])
def test_a_plan_is_played_block_by_block(
    server: WireServer, tmp_path: File, processes: tuple[str, ...]
) -> None:
    plan = a_plan(server.url, "http://127.0.0.1:1", server.url)
    observations, said = played(plan, tmp_path, *processes)
    assert [(seen.round, seen.path, seen.arm) for seen in observations] == [
        (block.round, block.path.name, block.arm) for block in plan.blocks()
    ]
    for seen in observations:
        if seen.path == "path-1":
            assert "refused" in seen.voids[0]
        else:
            assert seen.voids == (), said
            assert seen.users == plan.users[seen.arm]
            assert seen.server_bases == seen.total.bases > 0
            assert seen.window.answers > 0
    assert sum(seen.total.bases for seen in observations) == server.answered_bases
    server.wait_for_connections(0)


def played(plan: Plan, folder: File, *arguments: str) -> tuple[list[Observation], str]:
    write_plan(plan, folder / "plan.json")
    status, said = run(*plan_arguments(folder), *arguments)
    assert status == 0, said
    return list(read_observations(folder / "blocks.jsonl")), said


def plan_arguments(folder: File) -> tuple[str | File, ...]:
    return ("--headless", "--plan", folder / "plan.json", "--observations", folder / "blocks.jsonl")


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_plan_that_is_broken_off_leaves_whole_observations(
    server: WireServer, tmp_path: File, number: signal.Signals, expected: int
) -> None:
    write_plan(a_plan(server.url, rounds=500), tmp_path / "plan.json")
    with locust(*plan_arguments(tmp_path)) as process:
        server.wait_for_requests(200)
        process.send_signal(number)
        status, said = ended(process)
    assert status == expected, said
    observations = list(read_observations(tmp_path / "blocks.jsonl"))
    assert all(seen.voids == () for seen in observations)
    assert 0 < len(observations) < 1000
    server.wait_for_connections(0)


def test_a_server_that_stops_answering_voids_its_block_and_not_the_run(
    server: WireServer, tmp_path: File
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = f"http://127.0.0.1:{silent.getsockname()[1]}"
        observations, _ = played(a_plan(mute, server.url, rounds=1, arms=("null",)), tmp_path)
    by_path = {seen.path: seen for seen in observations}
    assert "timed out" in by_path["path-0"].voids[0]
    assert by_path["path-1"].voids == ()


def test_the_web_ui_has_a_tab_with_bases_per_second(
    server: WireServer, tmp_path: File, chromium: str, artefacts: File
) -> None:
    port = free_port()
    web = ("--web-host", "127.0.0.1", "--web-port", str(port))
    with locust("--host", server.url, *web) as process, browsing(chromium, tmp_path / "profile") as page:
        wait_for_state(port, "ready")
        page.open(f"http://127.0.0.1:{port}/")
        page.click("start")
        # Locust keeps its figures for two seconds, and a page that is told that nothing runs shows its form.
        wait_for_state(port, "running")
        page.open(f"http://127.0.0.1:{port}/?tab=bases")
        rows = "[...document.querySelectorAll('#root tr')].map(row => [...row.cells].map(c => c.textContent))"
        shown = page.wait_for(f"{rows}.find(cells => cells[0] === 'now' && /[1-9]/.test(cells[1]))")
        head = page.evaluate(f"{rows}[0]")
        assert float(shown[head.index("bases/s")].replace(",", "")) > 0
        captions = "[...document.querySelectorAll('#fiveways figcaption')]"
        charts = f"{captions}.map(caption => caption.firstChild.data.trim())"
        page.wait_for(f"{charts}.length >= 4 && !!document.querySelector('#fiveways polyline')")
        assert page.evaluate(charts)[:3] == ["Bases per second", "Latency", "Where an answer's time goes"]
        page.keep_screenshot(artefacts / "loadgen-tab.png")
        page.open(f"http://127.0.0.1:{port}/?tab=stats")
        page.wait_for("document.querySelector('#fiveways')?.hidden")
        page.click("stop")
        wait_for_state(port, "stopped")
        status, said = told_to_end(process)
    assert status == 0, said
    assert_totals_are_those_of(server, said)


def test_an_open_loop_is_chosen_in_the_web_ui(server: WireServer) -> None:
    port = free_port()
    with locust("--host", server.url, "--web-host", "127.0.0.1", "--web-port", str(port)) as process:
        wait_for_state(port, "ready")
        form = {"user_count": "2", "spawn_rate": "2", "host": server.url, "arrival_rate": "30"}
        form |= {"most_lag_ms": "5000", "slo_p99_ms": "20000", "model": "null"}
        urlopen(f"http://127.0.0.1:{port}/swarm", data=urlencode(form).encode()).close()
        server.wait_for_requests(30)
        with urlopen(f"http://127.0.0.1:{port}/bases/figures") as answer:
            assert json.load(answer)["client_limited"] == ""
        urlopen(f"http://127.0.0.1:{port}/stop", data=b"").close()
        wait_for_state(port, "stopped")
        status, said = told_to_end(process)
    assert status == 0, said
    assert re.search(r"^schedule lag p99 \[ms\] +\d", said, re.MULTILINE)
    assert "objective met: the p99 of all requests is" in said
    assert {request["model"] for request in server.requests} == {"null"}
    assert_totals_are_those_of(server, said)


OPEN = ("--headless", "--arrival-rate", "40", "--most-lag-ms", "5000")


@pytest.mark.parametrize("processes", [(), ("--processes", "2")], ids=["one process", "two workers"])
def test_an_open_loop_sends_what_arrives(server: WireServer, processes: tuple[str, ...]) -> None:
    with locust("--host", server.url, *OPEN, "--seed", "7", *processes) as process:
        server.wait_for_requests(1)
        began_s = time.monotonic()
        server.wait_for_requests(121)
        took_s = time.monotonic() - began_s
        status, said = told_to_end(process)
    assert status == 0, said
    # 120 gaps of 25 ms, with a standard deviation of 0.3 s; a machine that is busy makes them longer.
    assert 1.8 < took_s < 2 * 3.0
    assert_totals_are_those_of(server, said)


def test_a_client_that_cannot_keep_its_schedule_is_declared_the_limit(server: WireServer) -> None:
    options = ("--headless", "--arrival-rate", "40", "--most-lag-ms", "0.0001")
    with locust("--host", server.url, *options) as process:
        server.wait_for_requests(20)
        status, said = told_to_end(process)
    assert status == 1, said
    assert "no latency is reported, client-limited: 1 % of the requests started" in said
    assert not re.search(r"^p99 \[ms\]", said, re.MULTILINE)
    assert_totals_are_those_of(server, said)


def test_an_objective_that_is_missed_makes_the_run_fail(server: WireServer) -> None:
    with locust("--host", server.url, *OPEN, "--slo-p99-ms", "1") as process:
        server.wait_for_requests(20)
        status, said = told_to_end(process)
    assert status == 1, said
    assert "objective missed: the p99 of all requests is" in said


def test_the_peak_is_searched_for_by_blocks_at_a_rate(server: WireServer, tmp_path: File) -> None:
    """How it ends is tested in test_searching: here it would take as long as the machine is busy."""
    blocks = tmp_path / "blocks.jsonl"
    options = ("--find", "peak", "--slo-p99-ms", "60000", "--arrival-rate", "200", "--most-lag-ms", "60000")
    files = ("--observations", blocks, "--json-file", tmp_path / "locust")
    with locust("--host", server.url, "--headless", "--window-s", "0.5", *options, *files) as process:
        give_up_s = time.monotonic() + PATIENCE_S
        while not (blocks.exists() and blocks.read_bytes()):
            assert time.monotonic() < give_up_s
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        status, said = ended(process)
    assert status == 130, said
    first = next(read_observations(blocks))
    assert (first.arrival_rate, len(first.windows)) == (200.0, 3)
    assert first.total.bases == first.server_bases
    assert json.loads((tmp_path / "locust_bases.json").read_text())["result"] is None, "it was broken off"


def test_the_concurrency_is_searched_for(server: WireServer, tmp_path: File) -> None:
    options = ("--find", "concurrency", "-u", "2", "--window-s", "0.3", "--json-file", tmp_path / "locust")
    status, said = run("--host", server.url, "--headless", *options)
    assert status == 0, said
    result = json.loads((tmp_path / "locust_bases.json").read_text())["result"]
    assert [trial["users"] for trial in result["trials"]] == [1, 2]
    assert 1 <= result["concurrency"]["users"] <= 2
    assert re.search(r"^concurrency: \d users, [\d,]+ bases/s", said, re.MULTILINE)
    server.wait_for_connections(0)


def test_paths_are_dialled_by_the_workers_that_are_attached_to_them(
    server: WireServer, tmp_path: File
) -> None:
    with serving() as pod_server:
        pod_server.answer = unhurried_answer
        paths = tmp_path / "paths.toml"
        paths.write_text(
            f'[[path]]\nname = "host"\nurl = "{server.url}"\nattach = "host"\n'
            f'[[path]]\nname = "pod"\nurl = "{pod_server.url}"\nattach = "pod"\n'
        )
        port = str(free_port())
        master = ("--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--headless")
        worker = ("--worker", "--master-host", "127.0.0.1", "--master-port", port, "--attach")
        blocks = tmp_path / "blocks.jsonl"
        of_paths = ("--paths", paths, "--rounds", "2", "--window-s", "0.5", "--observations", blocks)
        with (
            locust(*master, *of_paths, "-u", "4", "--expect-workers", "2") as process,
            locust(*worker, "host"),
            locust(*worker, "pod"),
        ):
            status, said = ended(process)
        observations = list(read_observations(blocks))
        assert [seen.users for seen in observations] == [2, 2, 2, 2], said
        assert {seen.path for seen in observations} == {"host", "pod"}
        for name, its_server in (("host", server), ("pod", pod_server)):
            its_bases = sum(seen.total.bases for seen in observations if seen.path == name)
            assert its_bases == its_server.answered_bases > 0
        assert all(seen.skew_s > 0 for seen in observations)
        assert [seen.voids for seen in observations] == [()] * 4, said
        assert status == 0, said


def test_a_path_that_no_worker_is_attached_to_ends_the_run_with_what_to_do(
    server: WireServer, tmp_path: File
) -> None:
    paths = tmp_path / "paths.toml"
    paths.write_text(f'[[path]]\nname = "pod"\nurl = "{server.url}"\nattach = "pod"\n')
    status, said = run("--headless", "--paths", paths, "--attach", "host")
    assert status == 1, said
    assert "no worker is attached by pod: start one with --attach pod" in said
    assert server.requests == []


def test_interleaved_paths_are_told_apart_everywhere(server: WireServer, tmp_path: File) -> None:
    paths = ("--path", f"one={server.url}", "--path", f"two={server.url.replace('127.0.0.1', 'localhost')}")
    files = ("--csv", tmp_path / "run", "--html", tmp_path / "run.html", "--json", "--skip-log-setup")
    status, said = run("--headless", "-u", "2", *paths, "--rounds", "2", "--window-s", "0.5", *files)
    assert status == 0, said
    document = json.loads(said.splitlines()[-1])
    assert document["totals"]["bases"] == server.answered_bases
    assert [row["path"] for row in document["paths"]] in (["one", "two"], ["two", "one"])
    assert len(document["blocks"]) == 4
    with (tmp_path / "run_bases_blocks.csv").open() as stream:
        assert [row["path"] for row in csv.DictReader(stream)] == [b["path"] for b in document["blocks"]]
    with (tmp_path / "run_bases_stats.csv").open() as stream:
        whole, *of_paths = csv.DictReader(stream)
    assert int(whole["bases"]) == server.answered_bases
    assert {row["path"] for row in of_paths} == {"one", "two"}
    assert all(float(row["bases_per_s"]) > 0 for row in of_paths)
    assert 'id="fiveways"' in (tmp_path / "run.html").read_text()


def test_answers_are_held_against_the_calls_of_a_file(server: WireServer, tmp_path: File) -> None:
    bodies = list(prepare_bodies(ReadSource()))
    calls = tmp_path / "calls.fastq"
    answers = [right_answer(body.samples, {"model": "", "read_id": body.read_id}).document for body in bodies]
    calls.write_text("".join(f"@{a['read_id']}\n{a['sequence']}\n+\n{a['qstring']}\n" for a in answers))
    options = ("--host", server.url, "--headless", "-u", "2", "-t", "2s", "--check-share", "1")
    status, said = run(*options, "--expected", calls)
    assert status == 0, said
    assert f"{server.answered:,} answers were compared with {calls}" in said
    calls.write_text(calls.read_text().replace("ACGT", "ACGA"))
    status, said = run(*options, "--expected", calls)
    assert status == 1, said
    assert "the sequence of a read is not that of the expected call" in said


def test_the_help_shows_our_options() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "loadgen.basecall"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    for option in (
        "--arrival-rate",
        "--slo-p99-ms",
        "--find",
        "--paths",
        "--attach",
        "--users",
        "--headless",
    ):
        assert option in ran.stdout


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for_state(port: int, state: str) -> None:
    """Wait until locust's web server is there and says that its run is in this state."""
    give_up_s = time.monotonic() + PATIENCE_S
    said = ""
    while said != state:
        assert time.monotonic() < give_up_s, f"locust is {said!r}, not {state!r}"
        time.sleep(0.1)
        with suppress(URLError), urlopen(f"http://127.0.0.1:{port}/stats/requests") as figures:
            said = json.load(figures)["state"]
