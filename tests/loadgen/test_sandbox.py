import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import missing
from sandboxed import PATIENCE_S, in_sandbox, require_sandbox, run, run_as_nobody, run_in_sandbox

from loadgen.keeper import mount_namespace
from loadgen.sandbox import explain, inside

REFUSAL = PermissionError(errno.EPERM, "Operation not permitted")


@pytest.fixture(autouse=True, scope="module")
def _sandbox() -> None:
    require_sandbox()


def processes_of(namespace: str) -> list[str]:
    return [pid.name for pid in Path("/proc").glob("[0-9]*") if mount_namespace(pid.name) == namespace]


def wait_for_the_end_of(namespace: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while left := processes_of(namespace):
        assert time.monotonic() < deadline, left
        time.sleep(0.01)


def test_the_command_is_root_there_with_a_network_of_its_own() -> None:
    done = run_in_sandbox("sh", "-c", "id -u; cat /proc/net/dev; readlink /proc/self/ns/net")
    uid, *_, loopback, namespace = done.stdout.splitlines()
    assert uid == "0"
    assert loopback.strip().startswith("lo:")
    assert namespace != str(Path("/proc/self/ns/net").readlink())


def test_loopback_is_up() -> None:
    script = "import socket; print(socket.create_server(('127.0.0.1', 0)).getsockname()[0])"
    connect = script + "; socket.create_connection(socket.create_server(('127.0.0.1', 0)).getsockname())"
    assert run_in_sandbox(sys.executable, "-c", connect).stdout == "127.0.0.1\n"


def test_the_machine_keeps_its_links_and_mounts() -> None:
    before = (socket.if_nameindex(), Path("/proc/self/mounts").read_text())
    change = f"mount -t tmpfs none /mnt && {sys.executable} -c 'import socket; print(socket.if_nameindex())'"
    done = run_in_sandbox("sh", "-c", change)
    assert done.stdout == "[(1, 'lo')]\n", done.stderr
    assert (socket.if_nameindex(), Path("/proc/self/mounts").read_text()) == before


@pytest.mark.parametrize("status", [0, 1, 7])
def test_the_exit_status_passes_through(status: int) -> None:
    assert run_in_sandbox("sh", "-c", f"exit {status}").returncode == status


def test_input_and_output_pass_through() -> None:
    done = run_in_sandbox("sh", "-c", "cat; echo complaint >&2", input="what came in")
    assert (done.stdout, done.stderr) == ("what came in", "complaint\n")


def test_a_signal_reaches_the_command_itself_and_its_death_is_seen() -> None:
    with subprocess.Popen(
        in_sandbox("sh", "-c", "echo $$; exec sleep 600"), stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        process.terminate()
        assert process.wait(PATIENCE_S) == -signal.SIGTERM


def test_sigkill_takes_every_descendant_along() -> None:
    orphans = (
        "(setsid sleep 600 & nohup sleep 600 &) >/dev/null 2>&1; readlink /proc/self/ns/mnt; exec sleep 600"
    )
    with subprocess.Popen(in_sandbox("sh", "-c", orphans), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        namespace = process.stdout.readline().strip()
        assert len(processes_of(namespace)) >= 1
        process.kill()
        assert process.wait(PATIENCE_S) == -signal.SIGKILL
    wait_for_the_end_of(namespace)


def test_a_command_that_ends_by_itself_leaves_nobody_behind() -> None:
    namespace = run_in_sandbox(
        "sh", "-c", "sleep 600 >/dev/null 2>&1 & readlink /proc/self/ns/mnt"
    ).stdout.strip()
    wait_for_the_end_of(namespace)


def test_files_are_written_as_the_user_who_called(tmp_path: Path) -> None:
    run_in_sandbox("touch", tmp_path / "result")
    assert (tmp_path / "result").stat().st_uid == os.geteuid()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may write into the folders of others")
def test_root_may_still_write_into_the_folders_of_others(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    tmp_path.chmod(0o700)
    assert run_in_sandbox("touch", tmp_path / "result").returncode == 0


def test_an_ordinary_user_needs_no_root() -> None:
    done = run_as_nobody("sh", "-c", "id -u; wc -l < /proc/net/dev")
    assert (done.stdout.split(), done.returncode) == (["0", "3"], 0), done.stderr


def test_enter_runs_the_same_command_again_inside_and_only_once(tmp_path: Path) -> None:
    script = tmp_path / "again.py"
    script.write_text(
        "import sys\nfrom loadgen import sandbox\nprint('begin', flush=True)\nsandbox.enter()\n"
        "sandbox.enter()\nprint(sandbox.inside(), sys.argv[1:])\n"
    )
    done = run([sys.executable, str(script), "--out", "a b"])
    assert done.stdout == "begin\nbegin\nTrue ['--out', 'a b']\n", done.stderr
    assert not inside()


def test_a_mark_from_elsewhere_is_not_believed() -> None:
    done = run(
        [sys.executable, "-c", "from loadgen.sandbox import inside; print(inside())"],
        env={**os.environ, "FIVEWAYS_SANDBOX": "mnt:[1]"},
    )
    assert done.stdout == "False\n"


def test_a_command_that_does_not_exist_is_one_line() -> None:
    done = run_in_sandbox("/no/such/command")
    assert (done.returncode, done.stderr) == (1, "fiveways: /no/such/command: No such file or directory\n")


def test_a_call_without_a_command_is_misuse() -> None:
    done = run([sys.executable, "-m", "loadgen.sandbox"])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: ")


def test_what_the_kernel_forbids_is_one_line_with_what_to_type() -> None:
    if not shutil.which("setpriv"):
        missing("setpriv")
    # Inside a sandbox, its own sysctl can be set, and an ordinary user is one without capabilities.
    drop = "exec setpriv --inh-caps=-all --bounding-set=-all "
    command = " ".join(in_sandbox("true"))
    done = run_in_sandbox("sh", "-c", "echo 0 > /proc/sys/user/max_user_namespaces;" + drop + command)
    assert done.returncode == 1
    assert done.stderr == (
        "fiveways: user.max_user_namespaces=0 forbids the lab's private network namespaces; "
        "type: sudo sysctl -w user.max_user_namespaces=15000\n"
    )


def test_root_does_without_a_user_namespace_where_there_may_be_none() -> None:
    forbid = "echo 0 > /proc/sys/user/max_user_namespaces; readlink /proc/self/ns/user; "
    command = " ".join(in_sandbox("sh", "-c", "'readlink /proc/self/ns/user; wc -l < /proc/net/dev'"))
    outer, inner, lines = run_in_sandbox("sh", "-c", forbid + command).stdout.split()
    assert (inner, lines) == (outer, "3")


@pytest.mark.parametrize(
    ("sysctls", "filtered", "words"),
    [
        (
            {"kernel.unprivileged_userns_clone": "0"},
            True,
            "sudo sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (
            {"kernel.apparmor_restrict_unprivileged_userns": "1", "user.max_user_namespaces": "63000"},
            False,
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ({"user.max_user_namespaces": "63000"}, True, "docker run --security-opt seccomp=unconfined"),
        ({}, False, "sudo"),
    ],
)
def test_every_obstacle_has_its_line(sysctls: dict[str, str], filtered: bool, words: str) -> None:
    line = explain(REFUSAL, sysctls, filtered=filtered)
    assert words in line
    assert not re.search(r"\n", line)
