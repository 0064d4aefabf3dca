"""How fast one TCP connection of this machine is: over loopback, and over the lab's paths where it has any.

    python -m benchmarks.tcp [--rounds N] [--seconds S]     # in the sandbox: prints JSON

Sender and receiver are two processes. No root is needed; where the machine forbids the lab's namespaces, the
note says so and loopback is all there is.
"""

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

import typer

from benchmarks.measure import Spread, interleave, spread

WRITE_BYTES = 2**20
LIMIT_S = 120.0
"""For building a lab and measuring in it, beyond the measuring itself."""
CONNECT_S = 10.0
LAB_PATHS = ("host/hostip", "routed/podip", "vxlan/podip")


@dataclass(frozen=True, slots=True)
class Flows:
    """Rates by name [bytes/s], and what is to be known of them."""

    rates: dict[str, Spread]
    note: str


def rates(rounds: int, seconds: float, *, with_lab: bool) -> Flows:
    """Return the rates over loopback and, where that can be, over the lab."""
    listener = socket.create_server(("127.0.0.1", 0))
    with listener:
        address = listener.getsockname()
        arms = {"loopback": lambda: flow([listener], lambda: socket.create_connection(address), seconds)}
        found = {name: spread(values) for name, values in interleave(arms, rounds).items()}
    if not with_lab:
        return Flows(found, "Loopback only: no lab was asked for.")
    command = [sys.executable, "-m", "loadgen.sandbox", "--", sys.executable, "-m", "benchmarks.tcp"]
    command += ["--rounds", str(rounds), "--seconds", str(seconds)]
    limit_s = LIMIT_S + rounds * seconds * 2 * len(LAB_PATHS)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=True)  # noqa: S603 - our own
        in_lab = json.loads(done.stdout.splitlines()[-1])
    except subprocess.CalledProcessError as error:
        why = (error.stderr.strip() or "it said nothing").splitlines()[-1]
        return Flows(found, f"Loopback only: {why}")
    except subprocess.TimeoutExpired:
        return Flows(found, f"Loopback only: the lab was not measured within {limit_s:g} s")
    return Flows(found | {f"lab {name}": spread(values) for name, values in in_lab.items()}, "")


def flow(listeners: Sequence[socket.socket], connect: Callable[[], socket.socket], seconds: float) -> float:
    """Return how fast one connection, to whichever listener, carries bytes [bytes/s], from first to last."""
    with _sender(connect, seconds):
        ready, _, _ = select.select(listeners, (), (), CONNECT_S)
        if not ready:
            raise TimeoutError(f"no connection came within {CONNECT_S:g} s")
        connection, _ = ready[0].accept()
        with connection:
            room = memoryview(bytearray(WRITE_BYTES))
            received = connection.recv_into(room)
            began_s, counted = time.perf_counter(), 0
            while received:
                received = connection.recv_into(room)
                counted += received
            took_s = time.perf_counter() - began_s
    return counted / took_s


@contextmanager
def _sender(connect: Callable[[], socket.socket], seconds: float) -> Iterator[None]:
    """Send zeros for some seconds, in a process of its own."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with connect() as sending:
                zeros, ends_s = bytes(WRITE_BYTES), time.monotonic() + seconds
                while time.monotonic() < ends_s:
                    sending.sendall(zeros)
            status = 0
        finally:
            # A fork must not run what its parent has planned for its own end.
            os._exit(status)
    try:
        yield
    finally:
        _, status = os.waitpid(pid, 0)
    if status:
        raise RuntimeError("the sender of the TCP flow failed")


def main(rounds: Annotated[int, typer.Option()] = 3, seconds: Annotated[float, typer.Option()] = 1.0) -> None:
    """Measure over the lab's paths; to be run in the sandbox."""
    from loadgen.lab import Lab  # noqa: PLC0415 - outside the sandbox nobody needs it
    from loadgen.paths import open_socket  # noqa: PLC0415
    from loadgen.topology import LabSettings  # noqa: PLC0415

    with Lab(LabSettings(paths=LAB_PATHS)) as lab:

        def over(url: str, netns: str | None) -> float:
            at = urlsplit(url)

            def connect() -> socket.socket:
                sending = open_socket(netns, socket.AF_INET, socket.SOCK_STREAM)
                sending.connect((at.hostname, at.port))
                return sending

            return flow(lab.listeners, connect, seconds)

        arms = {path.name: lambda path=path: over(path.url, path.netns) for path in lab.paths}
        print(json.dumps(interleave(arms, rounds)))


if __name__ == "__main__":
    typer.run(main)
