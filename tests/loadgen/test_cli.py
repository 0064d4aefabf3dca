"""`fiveways bench` and `fiveways report` as people type them: what they print, and their exit status."""

import csv
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from measured import a_run
from sandboxed import require_sandbox
from typer import Typer
from typer.testing import CliRunner, Result
from wire_server import WireServer, serving

from loadgen.analysis import analyse
from loadgen.cli import report
from loadgen.commands import new_folder
from loadgen.observation import append_observation, read_observations
from loadgen.results import BLOCKS, Run, load, save

PATIENCE_S = 240.0
FIVEWAYS = str(Path(sys.executable).with_name("fiveways"))
SHORT = ("--arms", "null", "--users", "2", "--block-s", "0.4", "--settle-s", "0.1", "--chunk-samples", "4000")


NOWHERE = ("--path", "a=http://127.0.0.1:9", "--path", "b=http://127.0.0.1:9")


def fiveways(*words: str | Path, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [FIVEWAYS, *map(str, words)], capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd=cwd
    )


def reported(*words: str | Path) -> Result:
    """What `fiveways report` says, in this process."""
    app = Typer()
    app.command()(report)
    return CliRunner().invoke(app, list(map(str, words)))


def a_folder(place: Path, name: str, run: Run) -> Path:
    folder = place / name
    folder.mkdir()
    save(run, analyse(run), folder)
    for observation in run.observations:
        append_observation(observation, folder / BLOCKS)
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[WireServer]:
    with serving() as server:
        yield server


@pytest.fixture
def two_paths(server: WireServer) -> tuple[str, ...]:
    return "--path", f"host={server.url}", "--path", f"svc={server.url}/"


def test_urls_are_measured_and_the_table_and_the_page_are_printed(
    two_paths: tuple[str, ...], tmp_path: Path
) -> None:
    ended = fiveways("bench", "urls", *two_paths, *SHORT, "--budget-s", "12", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    *table, page = ended.stdout.splitlines()
    assert re.search(r"svc +[\d,]+ +\d\.\d{4} ", ended.stdout)
    assert any("host-again" in line for line in table)
    (folder,) = (tmp_path / "results").iterdir()
    assert (tmp_path / page).samefile(folder / "report.html")
    assert {file.name for file in folder.iterdir()} == {
        *("report.html", "results.json", "blocks.jsonl", "plan.json", "locust.log"),
        *("verdicts.csv", "differences.csv", "noise.csv", "paths.csv", "headroom.csv", "line_limits.csv"),
        *("expected_limits.csv", "gates.csv", "facts.csv", "settings.csv", "addresses.csv", "absent.csv"),
        "blocks.csv",
    }
    blocks = list(read_observations(folder / BLOCKS))
    assert all(block.retransmits is not None and block.segments for block in blocks)
    assert all(block.softirq_s is not None and block.softirq_s >= 0 for block in blocks)


def test_ctrl_c_keeps_what_was_measured(two_paths: tuple[str, ...], tmp_path: Path) -> None:
    command = [FIVEWAYS, "bench", "urls", *two_paths, *SHORT, "--budget-s", "600"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stderr
        (folder,) = re.findall(r"writing to (\S+)", program.stderr.readline().decode())
        blocks = tmp_path / folder / BLOCKS
        while not blocks.exists() or blocks.read_bytes().count(b"\n") < 4:
            with pytest.raises(subprocess.TimeoutExpired):
                program.wait(timeout=0.1)
        program.send_signal(signal.SIGINT)
        printed, complaints = (said.decode() for said in program.communicate(timeout=PATIENCE_S))
    assert program.returncode == 130
    assert "Traceback" not in complaints
    assert (tmp_path / printed.splitlines()[-1]).is_file()
    assert len(load(tmp_path / folder).rounds) >= 1


def test_a_run_that_is_over_is_resumed_with_its_report(server: WireServer, tmp_path: Path) -> None:
    run = a_run({"svc": 0.9}, rounds=2)
    paths = tuple(replace(path, url=server.url) for path in run.setup.plan.paths)
    setup = replace(run.setup, kind="urls", plan=replace(run.setup.plan, paths=paths))
    folder = a_folder(tmp_path, "begun", replace(run, setup=setup))
    ended = fiveways("bench", "urls", "--resume", folder, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "null arm, 2 rounds" in ended.stdout
    assert (folder / "report.html").is_file()
    assert not (folder / "locust.log").exists()


def test_a_run_of_the_lab_is_not_resumed_over_urls(tmp_path: Path) -> None:
    folder = a_folder(tmp_path, "begun", a_run({"vxlan/podip": 0.9}, rounds=1))
    ended = fiveways("bench", "urls", "--resume", folder, cwd=tmp_path)
    assert ended.returncode == 2
    assert "is a run of fiveways bench lab, not urls" in ended.stderr


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (["--path", "host=http://127.0.0.1:9"], 2, "at least two paths"),
        (["--path", "host"], 2, "'host' is not NAME=URL"),
        ([*NOWHERE, "--baseline", "c"], 2, "no path is called c"),
        ([*NOWHERE, "--arms", "gpu"], 2, "arms are one or both of model, null"),
        ([*NOWHERE, "--reads", "none.fast5"], 2, "none.fast5: there is no such file"),
        (NOWHERE, 1, r"no service is ready behind a \(http://127.0.0.1:9\)"),
        (["--resume", "nowhere"], 2, "nowhere holds no results"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    words: Sequence[str], status: int, complaint: str, tmp_path: Path
) -> None:
    ended = fiveways("bench", "urls", *words, cwd=tmp_path)
    assert ended.returncode == status, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert re.search(complaint, line)
    assert ended.stdout == ""
    assert not (tmp_path / "results").exists()


def test_a_file_that_holds_no_reads_is_refused_before_anything_is_measured(
    two_paths: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "notes.fast5").write_text("not a read")
    ended = fiveways("bench", "urls", *two_paths, "--reads", "notes.fast5", cwd=tmp_path)
    assert ended.returncode == 2
    assert "notes.fast5" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_lab_is_measured_from_end_to_end(tmp_path: Path) -> None:
    require_sandbox()
    words = ("--path", "routed/clusterip", "--model", "null", "--budget-s", "10", "--json")
    ended = fiveways("bench", "lab", *words, *SHORT, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    plain = json.loads(ended.stdout)
    results = plain["results"]
    assert [row["path"] for row in results["summaries"]] == [
        "host/hostip",
        "host/hostip-again",
        "routed/clusterip",
    ]
    assert all(row["failures"] == 0 and row["requests"] > 0 for row in results["summaries"])
    assert {row["name"] for row in plain["run"]["facts"]} >= {"MTU", "NAT", "CPU", "locust version"}
    (folder,) = (tmp_path / "results").iterdir()
    assert "is ready" in (folder / "server.log").read_text()


def test_a_path_shaped_to_half_the_line_rate_is_found_slower_by_half(tmp_path: Path) -> None:
    require_sandbox()
    # So slow that the line is the limit also of a machine that does other things.
    rates = ("--path", "host/hostip", "--line-rate-mbps", "8", "--shape", "host/hostip=4")
    words = ("--arms", "null", "--model", "null", "--users", "4", "--chunk-samples", "4000", "--json")
    times = ("--block-s", "1.0", "--settle-s", "0.3", "--budget-s", "30")
    ended = fiveways("bench", "lab", *rates, *words, *times, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    results = json.loads(ended.stdout)["results"]
    (row,) = (row for row in results["comparisons"] if row["measure"] == "bases_per_s")
    assert row["path"] == "host/hostip/shaped"
    assert row["verdict"]["word"] == "lower"
    assert row["verdict"]["low"] - 0.01 < 0.5 < row["verdict"]["high"] + 0.01
    (line,) = (gate for gate in results["gates"] if gate["name"] == "line rate")
    assert line["held"]


def test_a_lab_without_its_service_says_why(tmp_path: Path) -> None:
    require_sandbox()
    ended = fiveways("bench", "lab", "--model", "no-such-model", "--path", "routed/podip", cwd=tmp_path)
    assert ended.returncode == 1
    assert "no-such-model" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_path_that_a_lab_cannot_have_is_used_wrongly(tmp_path: Path) -> None:
    require_sandbox()
    ended = fiveways("bench", "lab", "--path", "macvlan/clusterip", cwd=tmp_path)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert "macvlan/clusterip is n/a by construction" in line


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("system,path,repeat,value,order\nA,direct,1,9,1\nA,b,1,8,2\nA,direct,2,9,3\nA,b,2,7,4\n")
    with pytest.raises(OSError, match=r"file/\d{8}-\d{6} cannot be made: Not a directory"):
        new_folder(file)
    ended = reported("--import", file, "--baseline", "direct", "--out", file)
    assert ended.exit_code == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("fiveways: ")
    assert "Not a directory" in line


def test_a_report_is_made_again_from_the_blocks(tmp_path: Path) -> None:
    folder = a_folder(tmp_path, "monday", a_run({"vxlan/podip": 0.9}, rounds=4))
    ended = fiveways("report", folder, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "slower by 10" in ended.stdout
    assert ended.stdout.splitlines()[-1] == str(folder / "report.html")


def test_several_runs_become_one_page(tmp_path: Path) -> None:
    folders = [
        a_folder(tmp_path, "monday", a_run({"vxlan/podip": 0.9}, rounds=4)),
        a_folder(tmp_path, "tuesday", a_run({"vxlan/podip": 0.8}, rounds=4)),
    ]
    ended = fiveways("report", *folders, "--out", tmp_path / "both", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    page = (tmp_path / "both" / "report.html").read_text()
    assert "Lab monday" in page
    assert "Lab tuesday" in page
    with (tmp_path / "both" / "together.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["measure"] == "bases_per_s"]
    assert [(row["run"], row["arm"], row["path"]) for row in rows] == [
        (name, arm, "vxlan/podip") for name in ("monday", "tuesday") for arm in ("model", "null")
    ]


def test_several_runs_of_one_name_are_one_json_document_that_tells_them_apart(tmp_path: Path) -> None:
    folders = []
    for seed, place in enumerate(("east", "west")):
        (tmp_path / place).mkdir()
        folders.append(a_folder(tmp_path / place, "monday", a_run({"svc": 0.9}, rounds=3, seed=seed)))
    ended = reported(*folders, folders[0], "--json", "--out", tmp_path)
    assert ended.exit_code == 0, ended.stderr
    plain = json.loads(ended.stdout)
    assert list(plain["runs"]) == ["east/monday", "west/monday"]
    assert plain["together"]["groups"] == [["east/monday", "west/monday"]]
    assert (tmp_path / "together.json").read_text() == ended.stdout.removesuffix("\n")


OTHERS = """\
system,path,repeat,value,order
cilium,direct,1,9.41,1
cilium,service,1,8.47,2
cilium,direct,2,9.43,3
cilium,service,2,8.49,4
cilium,direct,3,9.42,5
cilium,service,3,8.48,6
"""


def test_what_others_measured_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "itnext.csv").write_text(OTHERS)
    ended = reported("--import", tmp_path / "itnext.csv", "--baseline", "direct", "--out", tmp_path)
    assert ended.exit_code == 0, ended.stderr
    assert "lower by 10.0 %" in ended.stdout
    assert "Of 1 comparisons 1 has a 95% interval without 1" in ended.stdout
    assert ended.stdout.splitlines()[-1] == str(tmp_path / "itnext" / "report.html")
    assert {file.name for file in (tmp_path / "itnext").iterdir()} == {
        "report.html",
        "reanalysis.json",
        "verdicts.csv",
        "gates.csv",
    }
    page = (tmp_path / "itnext" / "report.html").read_text()
    assert "lower by 10.0" in page
    assert page.count("<svg") == 2
    assert "<script" not in page


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "name folders of results, or a CSV with --import"),
        (["monday", "--import", "itnext.csv"], "and not both"),
        (["--import", "none.csv"], "none.csv cannot be read"),
        (
            ["--import", "itnext.csv", "--baseline", "host"],
            "no path is called host; there are direct, service",
        ),
        (["nowhere"], "holds no results"),
    ],
)
def test_a_report_of_nothing_is_used_wrongly(
    words: Sequence[str], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "itnext.csv").write_text(OTHERS)
    monkeypatch.chdir(tmp_path)
    ended = reported(*words)
    assert ended.exit_code == 2
    assert complaint in re.sub(r"[│\s]+", " ", ended.stderr)


def test_options_are_shown_without_torch_or_scipy_being_imported() -> None:
    code = "import sys, loadgen.cli; sys.exit(bool({'torch', 'scipy', 'locust'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=PATIENCE_S).returncode == 0
