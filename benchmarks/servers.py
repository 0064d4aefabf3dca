"""Servers in processes of their own, from starting them to their end, and what they cost meanwhile."""

import base64
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import orjson
import psutil

from benchmarks.hammer import Request

START_S, END_S = 180.0, 10.0
BATCHING_PEERS = ("litserve", "mosec")
FIVEWAYS = str(Path(sys.executable).with_name("fiveways"))


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of server: what starts it, to which --port is added, and where its packages are."""

    name: str
    command: tuple[str, ...]
    packages: Path | None = None
    takes_words: bool = False
    """Whether it takes what is said of a read in the query."""
    takes_json: bool = False
    """Whether its requests are JSON with the signal in base64, for it takes no bytes."""

    def request(self, of: Request) -> Request:
        """Return a request of the service's form in the form that this kind takes."""
        if not self.takes_json:
            return of if self.takes_words else replace(of, path=of.path.partition("?")[0])
        body = orjson.dumps({"signal": base64.b64encode(of.body).decode()})
        return Request(body, "/v1/basecall", "application/json")


def service(model: str) -> Kind:
    """Return the service itself, with no limit that a benchmark would meet."""
    limits = ("--log-level", "warning", "--max-backlog-s", "3600", "--max-per-client", "100000")
    return Kind("fiveways", (FIVEWAYS, "serve", "--model", model, *limits), takes_words=True)


def peer(name: str, model: str, packages: Path | None = None) -> Kind:
    """Return one of `benchmarks.peers`, or of the modules of peers that have one of their own."""
    module = (f"benchmarks.{name}_peer",) if name in BATCHING_PEERS else ("benchmarks.peers", name)
    command = (sys.executable, "-m", *module, "--model", model)
    return Kind(name, command, packages, takes_json=name == "litserve")


class Server:
    """A server that answers, inside this context manager; `start_s` is how long the first answer took."""

    def __init__(self, kind: Kind, probe: Request) -> None:
        self.kind = kind
        self._probe = kind.request(probe)

    def __enter__(self) -> Self:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        environment = dict(os.environ)
        if packages := self.kind.packages:
            environment["PYTHONPATH"] = str(packages.resolve())
            # Where mosec looks for its front, among other places.
            environment["PYTHONUSERBASE"] = str(packages.resolve())
        self._log = tempfile.TemporaryFile()
        began_s = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603 - our own
            [*self.kind.command, "--port", str(port)],
            stdout=self._log,
            stderr=self._log,
            env=environment,
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
        process = psutil.Process(self._process.pid)
        return sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))

    @property
    def cpu_s(self) -> float:
        """Return the processor time that it has taken so far, its children's too."""
        process = psutil.Process(self._process.pid)
        times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
        return sum(one.user + one.system for one in times)

    def _await_answer(self, began_s: float) -> None:
        headers = {"content-type": self._probe.content_type}
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
        # Its own session, so that no worker outlives it.
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
        self._log.close()
