import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from loadgen.cluster.relay import relay

WAIT_S = 30.0


def test_whole_lines_are_copied_and_the_rest_waits(tmp_path: Path) -> None:
    file, out, end = tmp_path / "lines", io.BytesIO(), threading.Event()
    file.write_bytes(b"one\ntw")
    end.set()
    relay(file, out, end)
    assert out.getvalue() == b"one\n"


def test_a_file_that_is_never_there_is_nothing(tmp_path: Path) -> None:
    out, end = io.BytesIO(), threading.Event()
    end.set()
    relay(tmp_path / "none", out, end)
    assert out.getvalue() == b""


def test_what_was_written_before_it_was_told_to_end_is_never_lost(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    command = [sys.executable, "-m", "loadgen.cluster.relay", file]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) as program:
        assert program.stdout
        with file.open("ab", buffering=0) as stream:
            stream.write(b"one\n")
            assert program.stdout.readline() == b"one\n"
            stream.write(b"two\nthree\n")
            program.send_signal(signal.SIGTERM)
        said, _ = program.communicate(timeout=WAIT_S)
    assert said == b"two\nthree\n"
    assert program.returncode == 0
