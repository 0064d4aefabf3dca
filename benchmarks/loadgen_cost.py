"""What the load generator itself costs: CPU seconds for each GB it sends, and the most GB/s of one worker.

Three senders take turns on the same byte sink, in an order drawn anew for each round: raw non-blocking
sockets (the floor: a head, a body, an answer, and nothing looked at), plain locust (FastHttpUser.post), and
this project's user (every answer parsed, checked, counted). Each is a process of its own with as many
connections. The sink throws bytes away in the kernel; it is another process, and its CPU is not counted.

    python benchmarks/loadgen_cost.py [--rounds 5] [--seconds 3] [--connections 4] [--sizes 100000 1000000]

A table on stderr, and JSON as the last line of stdout. It wants a quiet machine with two cores or more.
"""

import argparse
import json
import os
import random
import selectors
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

SENDERS = ("raw", "locust", "fiveways")
AIMS = {("fiveways", "raw", 1_000_000): 1.5, ("fiveways", "locust", 100_000): 1.2}
"""CPU seconds for each GB, of the first in terms of the second, at bodies of so many bytes."""
SETTLE_SHARE = 0.2
"""The share of a run that is not measured."""
SCRATCH_BYTES = 1 << 20


def sink(listener: socket.socket) -> None:
    """Answer every request on every connection as a null service would, once its body is there."""
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_swallow, args=(connection,), daemon=True).start()


def _swallow(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    scratch = bytearray(SCRATCH_BYTES)
    received = b""
    while True:
        while b"\r\n\r\n" not in received:
            more = connection.recv(4096)
            if not more:
                return
            received += more
        head, _, body = received.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(fields[b"content-length"])
        left = length - len(body)
        while left:
            # On a TCP socket, MSG_TRUNC throws bytes away without copying them.
            taken = connection.recv_into(scratch, min(left, SCRATCH_BYTES), socket.MSG_TRUNC)
            if not taken:
                return
            left -= taken
        received = b""
        query = parse_qs(urlsplit(head.split(b" ", 2)[1].decode()).query)
        connection.sendall(_answer(query.get("read_id", ["read"])[0], length // 2))


def _answer(read_id: str, samples: int) -> bytes:
    call = {"model": "null", "read_id": read_id, "samples": samples, "bases": 4, "sequence": "ACGT"}
    content = json.dumps({**call, "qstring": "5555", "mean_q": 20.0}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


class Clock:
    """The measured part of a sender's run; `sent` is called after each answer."""

    def __init__(self, seconds: float) -> None:
        now_s = time.perf_counter()
        self.from_s, self.until_s = now_s + SETTLE_SHARE * seconds, now_s + (1 + SETTLE_SHARE) * seconds
        self.requests = 0
        self._began: tuple[float, float] | None = None

    def sent(self) -> bool:
        """Count a request; say whether there is time for another."""
        now_s = time.perf_counter()
        if self._began is None and now_s >= self.from_s:
            self._began = now_s, time.process_time()
            self.requests = 0
        else:
            self.requests += 1
        return now_s < self.until_s

    def figures(self, body_bytes: int) -> dict[str, float]:
        """Return what it cost from the first answer that counts until now."""
        if self._began is None or not self.requests:
            raise SystemExit("no answer came while it was measured: give it more --seconds")
        gigabytes = self.requests * body_bytes / 1e9
        return {
            "gb_per_s": gigabytes / (time.perf_counter() - self._began[0]),
            "cpu_s_per_gb": (time.process_time() - self._began[1]) / gigabytes,
            "requests": self.requests,
        }


def send_raw(port: int, body: bytes, connections: int, seconds: float) -> dict[str, float]:
    """Send with non-blocking sockets and nothing else."""
    head = f"POST /v1/basecall?read_id=read HTTP/1.1\r\nHost: sink\r\nContent-Length: {len(body)}\r\n\r\n"
    request = memoryview(head.encode() + body)
    with selectors.DefaultSelector() as ready:
        open_sockets: list[socket.socket] = []
        for number in range(connections):
            sock = socket.create_connection(("127.0.0.1", port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)  # its only argument
            ready.register(sock, selectors.EVENT_WRITE, [0, number])
            open_sockets.append(sock)
        clock, going = Clock(seconds), True
        while going:
            for key, _ in ready.select():
                sock, sent = open_sockets[key.data[1]], key.data
                if sent[0] < len(request):
                    sent[0] += sock.send(request[sent[0] :])
                    if sent[0] == len(request):
                        ready.modify(sock, selectors.EVENT_READ, sent)
                # An answer is small, and comes in one piece.
                elif sock.recv(65536):
                    going = clock.sent()
                    sent[0] = 0
                    ready.modify(sock, selectors.EVENT_WRITE, sent)
        figures = clock.figures(len(body))
        for sock in open_sockets:
            sock.close()
    return figures


def send_with_locust(port: int, body: bytes, connections: int, seconds: float) -> dict[str, float]:
    """Send with FastHttpUser."""
    from locust import FastHttpUser, task  # noqa: PLC0415 - slow to import, and it patches

    clock = Clock(seconds)

    class Poster(FastHttpUser):  # type: ignore[misc]
        @task
        def post(self) -> None:
            self.client.post("/v1/basecall?read_id=read", data=body)
            if not clock.sent():
                self.environment.runner.quit()

    _run_locust(Poster, port, connections)
    return clock.figures(len(body))


def send_with_fiveways(port: int, body: bytes, connections: int, seconds: float) -> dict[str, float]:
    """Send with this project's user, whose bodies lie in shared memory."""
    from loadgen import arena, basecall, bodies, checks, shift  # noqa: PLC0415 - likewise
    from loadgen.crew import Crew  # noqa: PLC0415 - likewise

    crew = Crew()
    query = urlencode({"read_id": "read", "sample_rate": 4000.0, "offset": 6.0, "scale": 0.18})
    made = bodies.Body("read", query, body, len(body) // 2)
    crew.bodies = arena.Arena().bodies(bodies.ReadSource(), lambda _: [made], lambda _: None)
    crew.checks = checks.Checks(0.01, {}, "seed")
    clock = Clock(seconds)

    class Caller(basecall.BasecallUser):
        abstract = False

        def report(self, of: shift.Shift, outcome: shift.Outcome) -> None:
            super().report(of, outcome)
            if outcome.error:
                raise SystemExit(str(outcome.error))
            if not clock.sent():
                self.environment.runner.quit()

    Caller.crew = crew
    url = f"http://127.0.0.1:{port}"
    endless = float("inf")
    crew.begin(
        shift.Assignment("basecall", url, None, "null", "keep-alive", None, 0.0, 0.0, endless, endless)
    )
    _run_locust(Caller, port, connections)
    return clock.figures(len(body))


def _run_locust(user: Any, port: int, users: int) -> None:
    from locust.env import Environment  # noqa: PLC0415 - likewise

    environment = Environment(user_classes=[user], host=f"http://127.0.0.1:{port}")
    runner = environment.create_local_runner()
    runner.start(users, spawn_rate=users)
    runner.greenlet.join()


SEND: dict[str, Callable[[int, bytes, int, float], dict[str, float]]] = {
    "raw": send_raw,
    "locust": send_with_locust,
    "fiveways": send_with_fiveways,
}


@contextmanager
def sinking() -> Iterator[int]:
    """Run a sink in a process of its own; yield its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        child = os.fork()
        if child == 0:
            sink(listener)
        try:
            yield listener.getsockname()[1]
        finally:
            os.kill(child, 15)
            os.waitpid(child, 0)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Have the senders take turns; return all figures, their medians and spreads, and the ratios of
    rounds."""
    chance = random.Random(arguments.seed)
    runs: dict[tuple[int, str], list[dict[str, float]]] = {}
    turns = [(size, sender) for size in arguments.sizes for sender in SENDERS]
    with sinking() as port:
        for number in range(arguments.rounds):
            chance.shuffle(turns)
            for size, sender in turns:
                runs.setdefault((size, sender), []).append(_run_sender(arguments, port, size, sender))
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
    results = [
        {
            "sender": sender,
            "body_bytes": size,
            **{name: _spread([run[name] for run in of_sender]) for name in ("cpu_s_per_gb", "gb_per_s")},
        }
        for (size, sender), of_sender in sorted(runs.items())
    ]
    ratios = [
        {
            "sender": "fiveways",
            "to": to,
            "body_bytes": size,
            "cpu": _spread(
                [
                    ours["cpu_s_per_gb"] / theirs["cpu_s_per_gb"]
                    for ours, theirs in zip(runs[size, "fiveways"], runs[size, to], strict=True)
                ]
            ),
            "aim": AIMS.get(("fiveways", to, size)),
        }
        for size in arguments.sizes
        for to in ("raw", "locust")
    ]
    return {"benchmark": "loadgen_cost", **vars(arguments), "results": results, "ratios": ratios}


def _run_sender(arguments: argparse.Namespace, port: int, size: int, sender: str) -> dict[str, float]:
    options = ("--connections", str(arguments.connections), "--seconds", str(arguments.seconds))
    command = [
        sys.executable,
        __file__,
        "--sender",
        sender,
        "--port",
        str(port),
        "--sizes",
        str(size),
        *options,
    ]
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE)  # noqa: S603 - this file
    figures: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return figures


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def main() -> None:
    """Measure, or be one of the senders."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each sender is run")
    parser.add_argument("--seconds", type=float, default=3.0, help="measured seconds of each run")
    parser.add_argument("--connections", type=int, default=4, help="users, each with a connection")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000], help="bytes of a body")
    parser.add_argument("--seed", type=int, default=1, help="decides the order of turns")
    parser.add_argument("--sender", choices=SENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.sender:
        body = bytes(arguments.sizes[0])
        send = SEND[arguments.sender]
        print(json.dumps(send(arguments.port, body, arguments.connections, arguments.seconds)))
        return
    measured = measure(arguments)
    for row in measured["results"]:
        cpu, speed = row["cpu_s_per_gb"], row["gb_per_s"]
        print(
            f"{row['body_bytes']:>9,} bytes  {row['sender']:<9} {cpu['median']:6.3f} CPU s/GB"
            f" [{cpu['min']:.3f}, {cpu['max']:.3f}]  {speed['median']:6.3f} GB/s",
            file=sys.stderr,
        )
    for row in measured["ratios"]:
        aim = f", aim {row['aim']:g}" if row["aim"] else ""
        cpu = row["cpu"]
        print(
            f"{row['body_bytes']:>9,} bytes  {cpu['median']:.2f} times the CPU of {row['to']}"
            f" [{cpu['min']:.2f}, {cpu['max']:.2f}]{aim}",
            file=sys.stderr,
        )
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
