"""A program beside the experiment is ended with it, kindly at first."""

import signal
import socket
import sys
from pathlib import Path

import pytest

from loadgen import child as child_module
from loadgen.child import Child
from loadgen.errors import ExperimentError

PATIENCE_S = 30.0
TALK = "print('ready', flush=True); "


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def wait_for(text: str, log: Path, program: Child) -> None:
    while text not in log.read_text():
        assert program.ended(within_s=0.05) is None


def test_it_is_asked_to_end_and_has_ended_when_it_is_left(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = (
        "import signal, sys; signal.signal(15, lambda *_: sys.exit(print('bye'))); " + TALK + "signal.pause()"
    )
    with Child(python(code), log) as program:
        wait_for("ready", log, program)
    assert program.ended() == 0
    assert log.read_text() == "ready\nbye\n"


def test_who_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "STOP_S", 0.1)
    log = tmp_path / "log"
    code = "import signal; signal.signal(15, signal.SIG_IGN); " + TALK + "\nwhile True: signal.pause()"
    with Child(python(code), log) as program:
        wait_for("ready", log, program)
    assert program.ended() == -signal.SIGKILL


def test_one_that_has_ended_is_complained_of_in_its_own_words(tmp_path: Path) -> None:
    with Child(python("import sys; sys.exit('no such model')"), tmp_path / "log") as program:
        assert program.ended(within_s=PATIENCE_S) == 1
        with pytest.raises(ExperimentError, match=r"ended with status 1; its log ends\nno such model"):
            program.check()


def test_one_that_runs_is_not_complained_of(tmp_path: Path) -> None:
    with Child(python("import signal; signal.pause()"), tmp_path / "log") as program:
        program.check()


def test_it_inherits_the_sockets_that_it_is_given(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        code = f"import socket; print(socket.socket(fileno={listener.fileno()}).getsockname()[1])"
        with Child(python(code), tmp_path / "log", descriptors=[listener.fileno()]) as program:
            assert program.ended(within_s=PATIENCE_S) == 0
        assert program.last_words() == str(listener.getsockname()[1])
