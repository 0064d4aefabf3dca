"""mosec on the same work, see `benchmarks.peers`: raw bodies in through its front in Rust, JSON out.

Its own file, because its workers are spawned and import it by name. mosec reads the command line itself.
"""

import os
import sys
from importlib import import_module
from typing import Any

import typer

from benchmarks.peers import (
    HOST,
    LONGEST_REQUEST_S,
    PATH,
    WAIT_S,
    BatchReads,
    Model,
    Port,
    Workers,
    answer,
    load,
)
from models import zoo

mosec: Any = import_module("mosec")
MODEL = "FIVEWAYS_MOSEC_MODEL"
"""How the workers, which are made without arguments, are told the model."""


class Worker(mosec.Worker):  # type: ignore[misc]  # untyped
    """The model, in mosec's words."""

    def __init__(self) -> None:
        self._caller = load(os.environ[MODEL])

    def deserialize(self, data: bytes) -> bytes:
        """Return the signal as it came."""
        return data

    def forward(self, data: list[bytes]) -> list[dict[str, Any]]:
        """Call a batch of reads."""
        return answer(self._caller, data)


def main(port: Port, model: Model = zoo.DEFAULT, workers: Workers = 2, batch_reads: BatchReads = 16) -> None:
    """Serve until killed."""
    sys.argv = ["mosec", "--address", HOST, "--port", str(port)]
    sys.argv += ["--timeout", str(1000 * LONGEST_REQUEST_S)]
    os.environ[MODEL] = model
    server = mosec.Server()
    server.append_worker(
        Worker,
        num=workers,
        route=PATH,
        max_batch_size=batch_reads,
        max_wait_time=int(1e3 * WAIT_S),
        timeout=LONGEST_REQUEST_S,
    )
    server.run()


if __name__ == "__main__":
    typer.run(main)
