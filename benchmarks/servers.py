"""Servers in processes of their own, from starting them to their end, and what they cost meanwhile."""

import base64
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import orjson
import psutil

from benchmarks import environments
from benchmarks.environments import REQUIREMENTS
from benchmarks.hammer import Request
from benchmarks.measure import uninterrupted

START_S, END_S, LEFT_S = 180.0, 10.0, 2.0
"""For a server to answer, to end, and for what it started to end after it."""
FIVEWAYS = str(Path(sys.executable).with_name("fiveways"))
ROOT = Path(__file__).parents[1]


def without_words(of: Request) -> Request:
    """Return the request without what the query says of the read."""
    return replace(of, path=of.path.partition("?")[0])


def in_json(of: Request) -> Request:
    """Return the request as JSON, for LitServe, which takes no bytes."""
    body = orjson.dumps({"signal": base64.b64encode(of.body).decode()})
    return replace(without_words(of), body=body, content_type="application/json")


def in_list(of: Request) -> Request:
    """Return the request as JSON, for BentoML, whose batches are of lists: one of one read."""
    body = orjson.dumps({"signals": [base64.b64encode(of.body).decode()]})
    return replace(without_words(of), body=body, content_type="application/json", sequence_at=(0, "sequence"))


def for_triton(of: Request) -> Request:
    """Return the request as Triton's own client sends it: what the tensor is, in JSON, and then its bytes."""
    samples, size = len(of.body) // 2, {"binary_data_size": len(of.body)}
    signal = {"name": "signal", "shape": [1, samples], "datatype": "INT16", "parameters": size}
    head = orjson.dumps({"inputs": [signal], "outputs": [{"name": name} for name in ("sequence", "qstring")]})
    return replace(
        of,
        body=head + of.body,
        path="/v2/models/basecall/infer",
        headers={"Inference-Header-Content-Length": str(len(head))},
        sequence_at=("outputs", 0, "data", 0),
    )


FORMS: Mapping[str, Callable[[Request], Request]] = {
    "litserve": in_json,
    "bentoml": in_list,
    "triton": for_triton,
}
"""Of the peers that do not take the service's own bytes."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of server: what starts it, to which --port is added, and the form of its requests."""

    name: str
    command: tuple[str, ...]
    form: Callable[[Request], Request] = without_words


def service(model: str) -> Kind:
    """Return the service itself, with no limit that a benchmark would meet."""
    limits = ("--log-level", "warning", "--max-backlog-s", "3600", "--max-per-client", "100000")
    return Kind("fiveways", (FIVEWAYS, "serve", "--model", model, *limits), lambda of: of)


def peer(name: str, model: str, options: Sequence[str] = ()) -> Kind:
    """Return one of `benchmarks.peers`, or of those that have a module and an environment of their own.

    Raises NotInstalledError where there is no such environment.
    """
    if name not in REQUIREMENTS:
        return Kind(name, (sys.executable, "-m", "benchmarks.peers", name, "--model", model))
    python = environments.python(name)
    if python is None:
        raise NotInstalledError(environments.command(name))
    command = (str(python), "-m", f"benchmarks.{name}_peer", "--model", model, *options)
    return Kind(name, command, FORMS.get(name, without_words))


class NotInstalledError(Exception):
    """A peer has no environment here; the message is the command that makes it."""


class Server:
    """A server that answers, inside this context manager; `start_s` is how long the first answer took."""

    def __init__(self, kind: Kind, probe: Request) -> None:
        self.kind = kind
        self._probe = kind.form(probe)

    def __enter__(self) -> Self:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._folder = tempfile.TemporaryDirectory(prefix="fiveways-", ignore_cleanup_errors=True)
        # Workers that are started somewhere else import this tree by name.
        environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": self._folder.name}
        self._log = tempfile.TemporaryFile()
        began_s = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603 - our own
            [*self.kind.command, "--port", str(port)],
            stdout=self._log,
            stderr=self._log,
            env=environment,
            cwd=ROOT,
            start_new_session=True,
        )
        try:
            self._await_answer(began_s)
        except BaseException:
            self._end()
            raise
        self.start_s = time.monotonic() - began_s
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def rss_bytes(self) -> int:
        """Return the memory that it and its children have resident."""
        return sum(one.memory_info().rss for one in self._processes())

    @property
    def cpu_s(self) -> float:
        """Return the processor time that it has taken so far, its children's too."""
        times = [one.cpu_times() for one in self._processes()]
        return sum(one.user + one.system for one in times)

    def _processes(self) -> list[psutil.Process]:
        process = psutil.Process(self._process.pid)
        return [process, *process.children(recursive=True)]

    def _await_answer(self, began_s: float) -> None:
        headers = {"content-type": self._probe.content_type, **self._probe.headers}
        while True:
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.kind.name} ended at its start: {self._last_words()}")
            if time.monotonic() - began_s > START_S:
                raise TimeoutError(
                    f"{self.kind.name} answered nothing in {START_S:g} s: {self._last_words()}"
                )
            try:
                response = httpx.post(
                    self.url + self._probe.path, content=self._probe.body, headers=headers, timeout=START_S
                )
                if response.status_code == 200:
                    return
                if response.status_code not in {404, 502, 503}:
                    raise RuntimeError(f"{self.kind.name}: {response.status_code} {response.text[:300]}")
            except httpx.TransportError:
                # It does not listen yet.
                pass
            time.sleep(0.02)

    def _last_words(self) -> str:
        self._log.seek(0)
        return " | ".join(self._log.read().decode(errors="replace").splitlines()[-4:])

    def _end(self) -> None:
        # Whoever interrupts may do it twice.
        with uninterrupted():
            self._end_all()

    def _end_all(self) -> None:
        # Ray's have sessions of their own: whatever the signal to the group leaves is killed by itself.
        processes = self._processes() if self._process.poll() is None else []
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                break
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                continue
        self._process.wait()
        for one in psutil.wait_procs(processes, LEFT_S)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self._log.close()
        self._folder.cleanup()
