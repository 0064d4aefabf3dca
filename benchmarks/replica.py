"""A replica of the service in a process of its own, that can be killed, told to end, and started again.

Started again, it listens on the port that it had. Replicas are forked from a process that has imported all
that they need, so that starting one takes no longer than proving its model.
"""

import os
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil

from benchmarks.paced import PacedCaller
from models.caller import Caller

START_S, END_S = 120.0, 60.0
"""How long a replica may take to be ready, and to end when it was told to."""

_context = get_context("forkserver")
_context.set_forkserver_preload(["benchmarks.paced", "service.server", "service.proof", "service.connection"])


class ReplicaError(Exception):
    """A replica did not start or did not end; the message ends with the last of its log."""


class Replica:
    """Serves `model` inside this context manager: `paced`, of `batch_s` a batch, or one of the zoo."""

    def __init__(
        self, log: Path, *, model: str = PacedCaller.name, batch_s: float = 0.1, **settings: Any
    ) -> None:
        self._log = log
        self._batch_s = batch_s
        self._settings = settings | {"model": model, "port": 0}
        self.url = ""
        self._process: ForkServerProcess

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and return when it is ready."""
        ours, its = _context.Pipe(duplex=False)
        self._process = _context.Process(
            target=_serve, args=(self._settings, self._batch_s, self._log, its), daemon=True
        )
        self._process.start()
        its.close()
        with ours:
            try:
                self.url = ours.recv() if ours.poll(START_S) else ""
            except EOFError:  # it has ended
                self.url = ""
        if not self.url:
            self.kill()
            raise ReplicaError(f"a replica was not ready in {START_S:g} s: {self._last_words()}")
        self._settings["port"] = int(self.url.rpartition(":")[2])

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.kill()
        self._process.join()

    def end(self) -> int:
        """Tell it to end, and return its exit status."""
        self._process.terminate()
        self._process.join(END_S)
        if self._process.exitcode is None:
            raise ReplicaError(f"a replica did not end in {END_S:g} s: {self._last_words()}")
        return self._process.exitcode

    @property
    def rss_bytes(self) -> int:
        """Return the memory that it has resident."""
        return int(psutil.Process(self._process.pid).memory_info().rss)

    def metric(self, name: str) -> int:
        """Return the sum of one of its metrics over all labels."""
        lines = httpx.get(self.url + "/metrics", timeout=START_S).text.splitlines()
        return int(sum(float(line.split()[-1]) for line in lines if line.startswith(name + "{")))

    def _last_words(self) -> str:
        return " | ".join(self._log.read_text().splitlines()[-3:])


def _serve(settings: dict[str, Any], batch_s: float, log: Path, ready: Connection) -> None:
    """Be the replica: in a process of its own."""
    from service.logs import set_up_logs  # noqa: PLC0415 - not for those who only control it
    from service.server import run  # noqa: PLC0415
    from service.settings import Settings  # noqa: PLC0415

    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(descriptor, stream)

    def load(model: str, device: str) -> Caller:
        if model == PacedCaller.name:
            return PacedCaller(batch_s)
        from models.zoo import DEFAULT, load  # noqa: PLC0415 - torch is slow to import

        return load(model or DEFAULT, device)

    def announce(model: str, urls: Sequence[str]) -> None:  # noqa: ARG001
        ready.send(urls[0])
        ready.close()

    set_up_logs("info")
    raise SystemExit(run(Settings(**settings), load, announce))
