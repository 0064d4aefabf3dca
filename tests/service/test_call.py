"""`fiveways call`, in this process and through a service: the same bytes, words and exit statuses."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pysam
import pytest
from live_service import WAIT_S, GatedCaller, Running, of, serving, wait_for
from scripted_server import fastq, problem, scripted
from typer.testing import CliRunner, Result

from fiveways import app
from models.errors import DeviceError
from models.zoo import DEFAULT, load
from reads.fast5 import Fast5Writer
from reads.simulate import simulate_reads

SUMMARY = re.compile(r"fiveways call: (\d+) reads called by (\S+), (\d+) not: .* samples, .* bases in ")
COMMAND = (sys.executable, "-c", "from fiveways import main; main()", "call")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reads of the model's rate but for one, and a file that is none."""
    path = tmp_path_factory.mktemp("reads")
    with Fast5Writer(path / "a.fast5") as writer:
        for number, one in enumerate(islice(simulate_reads(seed=4, mean_bases=700), 6)):
            writer.write(replace(one.read, sample_rate=5000.0 if number == 2 else one.read.sample_rate))
    (path / "b.fast5").write_text("no reads")
    return path


@pytest.fixture(scope="module")
def shipped() -> Iterator[Running]:
    with serving(of(load(device="cpu"))) as running:
        yield running


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More reads than a pipe holds calls of."""
    path = tmp_path_factory.mktemp("many") / "many.fast5"
    with Fast5Writer(path) as writer:
        for one in islice(simulate_reads(seed=5, mean_bases=2000), 60):
            writer.write(one.read)
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["call", *map(str, arguments)])


def problems_of(result: Result) -> list[str]:
    return [line for line in result.stderr.splitlines() if not SUMMARY.match(line)]


@pytest.mark.parametrize(("form", "moves"), [("fastq", ()), ("sam", ("--emit-moves",)), ("bam", ())])
def test_through_a_service_the_bytes_and_the_words_are_those_of_this_process(
    folder: Path, tmp_path: Path, shipped: Running, form: str, moves: tuple[str, ...]
) -> None:
    here, there = tmp_path / f"here.{form}", tmp_path / f"there.{form}"
    in_process = run(folder, "-o", here, *moves)
    remote = run(folder, "-o", there, "--url", shipped.url, *moves)
    assert here.read_bytes() == there.read_bytes() and here.stat().st_size > 1000
    assert in_process.exit_code == remote.exit_code == 1
    assert problems_of(in_process) == problems_of(remote)
    files = [Path(line.split(":")[1].strip()).name for line in problems_of(remote)]
    assert files == ["a.fast5", "b.fast5"]
    assert f"sampled at 5000 Hz, {DEFAULT} takes 4000 Hz" in problems_of(remote)[0]


def test_on_stdout_are_the_calls_and_on_stderr_everything_else(
    folder: Path, shipped: Running, capfd: pytest.CaptureFixture[str]
) -> None:
    result = run(folder, "--url", shipped.url)
    calls = capfd.readouterr().out.splitlines()
    assert len(calls) == 4 * 5
    assert all(title.startswith("@") for title in calls[::4])
    said = SUMMARY.match(result.stderr.splitlines()[-1])
    assert said and said.groups()[:3] == ("5", DEFAULT, "2")


def test_the_summary_is_json_on_stdout_where_the_calls_go_to_a_file(folder: Path, tmp_path: Path) -> None:
    result = run(folder / "a.fast5", "-o", tmp_path / "calls.bam", "--json")
    summary = json.loads(result.stdout)
    with pysam.AlignmentFile(str(tmp_path / "calls.bam"), check_sq=False) as calls:
        records = list(calls)
    assert (summary["model"], summary["reads"], summary["not_called"]) == (DEFAULT, 5, 1)
    assert summary["reads"] == len(records)
    assert summary["bases"] == sum(len(record.query_sequence or "") for record in records)
    assert summary["samples"] == sum(int(record.get_tag("ns")) for record in records)
    assert summary["bases_per_s"] == pytest.approx(summary["bases"] / summary["seconds"], rel=0.01)


def test_reads_can_be_chosen_by_id_and_those_not_met_are_said(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def chosen(*ids: str) -> tuple[Result, list[str]]:
        (tmp_path / "ids").write_text("\n".join(ids))
        result = run(folder / "a.fast5", "-m", "null", "--read-ids", tmp_path / "ids")
        return result, capfd.readouterr().out.splitlines()

    run(folder / "a.fast5", "-m", "null")
    everything = capfd.readouterr().out.splitlines()
    first = everything[0].split()[0].removeprefix("@")
    result, calls = chosen(first)
    assert (result.exit_code, calls) == (0, everything[:4])
    result, calls = chosen("nobody", first)
    assert (result.exit_code, calls) == (1, everything[:4])
    assert problems_of(result) == [f"fiveways call: {tmp_path / 'ids'}: 1 of its ids were not met: nobody"]


def test_a_read_that_the_service_refuses_is_one_line_and_the_others_are_called(
    folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "calls.fastq"
    with scripted(lambda asked: problem(413) if asked.number == 0 else fastq(asked)) as server:
        result = run(folder / "a.fast5", "-o", output, "--url", server.url)
        refused = server.asked[0].query["read_id"]
    assert result.exit_code == 1
    assert f"fiveways call: a.fast5: {refused}: No: this is 413" in problems_of(result)
    titles = [line.split("\t")[0] for line in output.read_text().splitlines()[::4]]
    assert len(titles) == 4 and f"@{refused}" not in titles


def test_the_token_in_a_file_is_sent(
    folder: Path, tmp_path: Path, tokens_file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "token").write_text("sesame\n")
    with serving(tokens=tokens_file) as running:
        address = (folder / "a.fast5", "--url", running.url)
        refused = run(*address)
        assert (refused.exit_code, capfd.readouterr().out) == (2, "")
        assert "A valid bearer token is needed" in refused.stderr
        called = run(*address, "--token-file", tmp_path / "token")
    assert called.exit_code == 1 and len(capfd.readouterr().out.splitlines()) == 4 * 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.fast5"], "there is no such file or folder"),
        (["{reads}", "-m", "nope"], "no model 'nope'"),
        (["{reads}", "-o", "calls.txt"], "calls are written to files that end in .fastq, .sam, .bam"),
        (["{reads}", "--device", "cuda:77"], "is not there"),
        (["{reads}", "--read-ids", "nowhere"], "nowhere"),
        (["{reads}", "--json"], "give them a file with -o"),
        (["{reads}", "--token-file", "t"], "name it, --url"),
        (["{reads}", "--deadline-s", "3"], "name it, --url"),
        (["{reads}", "--url", "{url}", "--device", "cpu"], "a service has its own"),
        (["{reads}", "--url", "{url}", "-m", "nope"], "no model 'nope' is served; there are m@1"),
        (["{reads}", "--url", "{url}", "--token-file", "{reads}"], "hold one token"),
        (["{reads}", "--url", "localhost:8000"], "write http://HOST:PORT"),
    ],
)
def test_wrong_use_is_one_line_and_exit_status_2(folder: Path, arguments: list[str], message: str) -> None:
    with scripted(fastq) as server:
        words = {"reads": folder / "a.fast5", "url": server.url}
        result = run(*(word.format(**words) for word in arguments))
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_service_that_is_not_there_is_one_line_and_exit_status_1(folder: Path, tmp_path: Path) -> None:
    result = run(folder, "-o", tmp_path / "calls.bam", "--url", "http://127.0.0.1:1")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "http://127.0.0.1:1 cannot be reached: " in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_goes_is_one_line_and_exit_status_1(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = load(device="cpu")

    def gone(batch: object) -> None:
        raise DeviceError("device cuda:0 failed: CUDA error: unspecified launch failure")

    monkeypatch.setattr(caller, "score", gone)
    monkeypatch.setattr("models.zoo.load", lambda model, device: caller)
    result = run(folder / "a.fast5", "-o", tmp_path / "calls.bam")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "fiveways call: device cuda:0 failed: CUDA error: unspecified launch failure"
    )
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_it_with_130_and_leaves_no_half_written_file(many: Path, tmp_path: Path) -> None:
    caller = GatedCaller()
    with serving(of(caller)) as running:
        caller.gate.clear()
        process = subprocess.Popen(
            [*COMMAND, str(many), "--url", running.url, "-o", str(tmp_path / "calls.bam")],
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            wait_for(lambda: running.service.lifecycle.requests > 1)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=WAIT_S)
        assert (process.returncode, said) == (130, "fiveways call: interrupted\n")
        wait_for(lambda: running.service.lifecycle.requests == 0)
        caller.gate.set()
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_a_call_in_this_process_likewise(many: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, str(many), "-o", str(tmp_path / "calls.fastq")], stderr=subprocess.PIPE, text=True
    )
    with process:
        # Its file has a hidden name while it is written.
        wait_for(lambda: process.poll() is not None or any(tmp_path.iterdir()))
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=WAIT_S)
    assert (process.returncode, said) == (130, "fiveways call: interrupted\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("remote", [True, False])
def test_a_reader_that_has_enough_ends_it_in_silence(many: Path, remote: bool) -> None:
    with serving() as running:
        who = ["--url", running.url] if remote else ["-m", "null"]
        process = subprocess.Popen(
            [*COMMAND, str(many), *who], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout and process.stderr
            assert process.stdout.readline().startswith("@")
            process.stdout.close()
            said = process.stderr.read()
        assert process.returncode == 0
        assert SUMMARY.match(said) and said.count("\n") == 1


def test_on_a_terminal_it_shows_reads_rates_and_what_is_left(many: Path, tmp_path: Path) -> None:
    screen, terminal = pty.openpty()
    with serving() as running:
        process = subprocess.Popen(
            [*COMMAND, str(many), "--url", running.url, "-o", str(tmp_path / "calls.sam")],
            stderr=terminal,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
        )
        os.close(terminal)
        shown = b""
        with process:
            while True:
                try:
                    shown += os.read(screen, 65536)
                except OSError:  # the other side is closed
                    break
        os.close(screen)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    assert process.returncode == 0
    assert re.search(r"100%.* 60 reads, [\d,]+ bases/s, [\d,]+ samples/s +\d:\d\d:\d\d", text)
    assert SUMMARY.search(text)
