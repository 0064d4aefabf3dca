"""What the locustfile promises, of real locust processes and a real service: exact totals, told failures,
plans that are played and broken off cleanly, and bases per second wherever locust shows figures.
"""

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
from urllib.request import urlopen

import pytest
from browser import browsing
from wire_server import PATIENCE_S, Reply, WireServer, right_answer, serving, unhurried_answer

from loadgen.bodies import ReadSource
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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    master = ("--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port)
    worker = ("--worker", "--master-host", "127.0.0.1", "--master-port", port)
    run_of_two = ("--host", server.url, "--headless", "-u", "2", "-r", "2", "--expect-workers", "2")
    with locust(*master, *run_of_two) as process, locust(*worker), locust(*worker):
        server.wait_for_requests(100)
        status, said = told_to_end(process)
    assert status == 0, said
    assert_totals_are_those_of(server, said)


def test_a_worker_without_the_reads_it_is_asked_for_makes_the_run_fail(server: WireServer) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
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
    server: WireServer, tmp_path: File, chromium: str
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    web = ("--web-host", "127.0.0.1", "--web-port", str(port))
    with locust("--host", server.url, *web) as process, browsing(chromium, tmp_path / "profile") as page:
        wait_for_state(port, "ready")
        page.open(f"http://127.0.0.1:{port}/")
        page.click("start")
        # Locust keeps its figures for two seconds, and a page that is told that nothing runs shows its form.
        wait_for_state(port, "running")
        page.open(f"http://127.0.0.1:{port}/?tab=bases")
        rows = "[...document.querySelectorAll('tr')].map(row => [...row.cells].map(cell => cell.textContent))"
        shown = page.wait_for(f"{rows}.find(cells => cells[0] === 'bases/s' && /[1-9]/.test(cells[1]))")
        assert float(shown[1].replace(",", "")) > 0
        page.keep_screenshot(tmp_path / "tab.png")
        page.click("stop")
        wait_for_state(port, "stopped")
        status, said = told_to_end(process)
    assert status == 0, said
    assert_totals_are_those_of(server, said)


def wait_for_state(port: int, state: str) -> None:
    """Wait until locust's web server is there and says that its run is in this state."""
    give_up_s = time.monotonic() + PATIENCE_S
    said = ""
    while said != state:
        assert time.monotonic() < give_up_s, f"locust is {said!r}, not {state!r}"
        time.sleep(0.1)
        with suppress(URLError), urlopen(f"http://127.0.0.1:{port}/stats/requests") as figures:
            said = json.load(figures)["state"]
