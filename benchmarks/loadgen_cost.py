"""What the load generator itself costs: CPU seconds for each GB it sends, and the most GB/s of one worker.

Three senders take turns on the same byte sink, in an order drawn anew for each round: raw non-blocking
sockets (the floor: requests put together beforehand, answers read to their end and not looked into), plain
locust (FastHttpUser.post), and this project's user (every answer parsed, checked, counted). Each is a process
of its own, sends the same requests over as many connections, and replays as many different bodies, as reads
are replayed: one body alone would stay in the processor's cache. The sink throws bytes away in the kernel; it
is another process, and its CPU is not counted.

    python benchmarks/loadgen_cost.py [--rounds 5] [--seconds 3] [--connections 4] [--sizes 100000 1000000]

A table on stderr, and JSON as the last line of stdout. It wants a quiet machine with two cores or more.
"""

import argparse
import json
import os
import random
import resource
import selectors
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

SENDERS = ("raw", "locust", "fiveways")
AIMS = {("fiveways", "raw", 1_000_000): 1.5, ("fiveways", "locust", 100_000): 1.2}
"""CPU seconds for each GB, of the first in terms of the second, at bodies of so many bytes."""
CALIBRATION = {"sample_rate": 4000.0, "offset": 6.0, "scale": 0.18}
FIELDS = {"Content-Type": "application/octet-stream", "Accept": "application/json"}
RECEIVE_BYTES = 64 * 1024
FOREVER_S = 3600.0
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
    # A sender ends in the middle of a request.
    with connection, suppress(ConnectionResetError, BrokenPipeError):
        while _swallow_request(connection, scratch):
            pass


def _swallow_request(connection: socket.socket, scratch: bytearray) -> bool:
    """Receive a request and answer it; say whether there was one."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(4096)
        if not more:
            return False
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    length = int(fields[b"content-length"])
    left = length - len(body)
    while left:
        # On a TCP socket, MSG_TRUNC throws bytes away without copying them.
        taken = connection.recv_into(scratch, min(left, SCRATCH_BYTES), socket.MSG_TRUNC)
        if not taken:
            return False
        left -= taken
    query = parse_qs(urlsplit(head.split(b" ", 2)[1].decode()).query)
    connection.sendall(_answer(query["read_id"][0], length // 2))
    return True


def _answer(read_id: str, samples: int) -> bytes:
    call = {"model": "null", "read_id": read_id, "samples": samples, "bases": 4, "sequence": "ACGT"}
    content = json.dumps({**call, "qstring": "5555", "mean_q": 20.0}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


class Clock:
    """The measured part of a sender's run, which begins with its first answer; `sent` is told of each."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._from_s = self._until_s = 0.0
        self._requests = 0
        self._began: tuple[float, float, float] | None = None
        self._ended: tuple[float, float, float] | None = None

    def sent(self) -> bool:
        """Count a request; say whether there is time for another."""
        now_s = time.perf_counter()
        if not self._from_s:
            self._from_s = now_s + SETTLE_SHARE * self._seconds
            self._until_s = self._from_s + self._seconds
        if self._began is None:
            if now_s >= self._from_s:
                self._began = self._now()
        elif self._ended is None:
            self._requests += 1
            if now_s >= self._until_s:
                self._ended = self._now()
        return self._ended is None

    def figures(self, body_bytes: int) -> dict[str, float]:
        """Return what it cost from the first answer that counts to the last."""
        if self._began is None or self._ended is None:
            raise SystemExit("no two answers came while it was measured: give it more --seconds")
        gigabytes = self._requests * body_bytes / 1e9
        elapsed_s, user_s, system_s = (
            after - before for before, after in zip(self._began, self._ended, strict=True)
        )
        return {
            "gb_per_s": gigabytes / elapsed_s,
            "cpu_s_per_gb": (user_s + system_s) / gigabytes,
            "system_s_per_gb": system_s / gigabytes,
            "cpu_us_per_request": (user_s + system_s) * 1e6 / self._requests,
        }

    def _now(self) -> tuple[float, float, float]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return time.perf_counter(), usage.ru_utime, usage.ru_stime


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent again and again, by whichever sender."""

    read_id: str
    query: str
    content: bytes


def make_requests(count: int, size: int, seed: int) -> list[Request]:
    """Return requests with different bodies, the same for equal arguments."""
    chance = random.Random(seed)
    return [
        Request(read_id, urlencode({"read_id": read_id, **CALIBRATION}), chance.randbytes(size))
        for read_id in (f"read-{number}" for number in range(count))
    ]


def send_raw(port: int, requests: Sequence[Request], connections: int, clock: Clock) -> None:
    """Send with non-blocking sockets and nothing else."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in FIELDS.items())
    messages = [
        memoryview(
            f"POST /v1/basecall?{request.query} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: raw\r\n"
            f"{fields}Content-Length: {len(request.content)}\r\n\r\n".encode()
            + request.content
        )
        for request in requests
    ]
    next_message = cycle(messages)
    with selectors.DefaultSelector() as ready:
        for _ in range(connections):
            sock = socket.create_connection(("127.0.0.1", port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)  # its only argument
            ready.register(sock, selectors.EVENT_WRITE, Exchange(sock, next(next_message)))
        going = True
        while going:
            for key, _ in ready.select():
                exchange: Exchange = key.data
                if exchange.left:
                    exchange.left = exchange.left[exchange.sock.send(exchange.left) :]
                    if not exchange.left:
                        ready.modify(exchange.sock, selectors.EVENT_READ, exchange)
                elif exchange.receive():
                    going = clock.sent()
                    exchange.left, exchange.received = next(next_message), b""
                    ready.modify(exchange.sock, selectors.EVENT_WRITE, exchange)
        for key in tuple(ready.get_map().values()):
            key.data.sock.close()


@dataclass(slots=True)
class Exchange:
    """A request on its way over a raw socket, and its answer."""

    sock: socket.socket
    left: memoryview
    """What was not sent yet."""
    received: bytes = b""

    def receive(self) -> bool:
        """Take what came of the answer, and say whether that was its end."""
        more = self.sock.recv(RECEIVE_BYTES)
        if not more:
            raise SystemExit("the sink has closed a connection")
        self.received += more
        head, end, content = self.received.partition(b"\r\n\r\n")
        if not end:
            return False
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"the sink says {head!r}")
        _, _, rest = head.partition(b"Content-Length: ")
        return len(content) == int(rest.partition(b"\r\n")[0])


def send_with_locust(port: int, requests: Sequence[Request], connections: int, clock: Clock) -> None:
    """Send with FastHttpUser."""
    from locust import FastHttpUser, task  # noqa: PLC0415 - slow to import, and it patches

    next_request = cycle([(f"/v1/basecall?{request.query}", request.content) for request in requests])

    class Poster(FastHttpUser):  # type: ignore[misc]
        @task
        def post(self) -> None:
            url, content = next(next_request)
            answer = self.client.post(url, name="/v1/basecall", data=content, headers=FIELDS)
            if answer.status_code != 200:
                raise SystemExit(f"the sink says {answer.status_code}")
            if not clock.sent():
                _quit(self.environment)

    _run_locust(Poster, port, connections)


def send_with_fiveways(port: int, requests: Sequence[Request], connections: int, clock: Clock) -> None:
    """Send with this project's user, whose bodies lie in shared memory."""
    from loadgen import arena, basecall, bodies, checks, shift  # noqa: PLC0415 - likewise
    from loadgen.crew import Crew  # noqa: PLC0415 - likewise

    crew = Crew()
    made = [
        bodies.Body(request.read_id, request.query, request.content, len(request.content) // 2)
        for request in requests
    ]
    crew.bodies = arena.Arena().bodies(bodies.ReadSource(), lambda _: made, lambda _: None)
    crew.checks = checks.Checks(0.01, {}, "seed")
    crew.pauses.watch()

    class Caller(basecall.BasecallUser):
        abstract = False

        def report(self, of: shift.Shift, outcome: shift.Outcome) -> None:
            super().report(of, outcome)
            if outcome.error:
                raise SystemExit(str(outcome.error))
            if not clock.sent():
                _quit(self.environment)

    Caller.crew = crew
    url = f"http://127.0.0.1:{port}"
    endless = float("inf")
    crew.begin(shift.Assignment("basecall", url, None, "", "keep-alive", None, 0.0, 0.0, endless, endless))
    _run_locust(Caller, port, connections)


def _run_locust(user: Any, port: int, users: int) -> None:
    from locust.env import Environment  # noqa: PLC0415 - likewise

    environment = Environment(user_classes=[user], host=f"http://127.0.0.1:{port}")
    runner = environment.create_local_runner()
    runner.start(users, spawn_rate=users)
    runner.greenlet.join()


def _quit(environment: Any) -> None:
    """Have locust stop its users, of which the caller is one."""
    import gevent  # noqa: PLC0415 - likewise

    gevent.spawn(environment.runner.quit)
    gevent.sleep(FOREVER_S)


SEND: dict[str, Callable[[int, Sequence[Request], int, Clock], None]] = {
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
            **{name: _spread([run[name] for run in of_sender]) for name in of_sender[0]},
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
    options = [
        word
        for name in ("connections", "seconds", "bodies", "seed")
        for word in (f"--{name}", str(getattr(arguments, name)))
    ]
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
    parser.add_argument("--bodies", type=int, default=32, help="different bodies that are sent in turn")
    parser.add_argument("--seed", type=int, default=1, help="decides the order of turns, and the bodies")
    parser.add_argument("--sender", choices=SENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.sender:
        (size,) = arguments.sizes
        requests = make_requests(arguments.bodies, size, arguments.seed)
        clock = Clock(arguments.seconds)
        SEND[arguments.sender](arguments.port, requests, arguments.connections, clock)
        print(json.dumps(clock.figures(size)))
        return
    measured = measure(arguments)
    for row in measured["results"]:
        cpu, kernel, speed = row["cpu_s_per_gb"], row["system_s_per_gb"], row["gb_per_s"]
        print(
            f"{row['body_bytes']:>9,} bytes  {row['sender']:<9} {cpu['median']:6.3f} CPU s/GB"
            f" [{cpu['min']:.3f}, {cpu['max']:.3f}], {kernel['median']:.3f} of it in the kernel"
            f"  {speed['median']:6.3f} GB/s",
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
