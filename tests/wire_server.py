"""A small real service that speaks the wire: for tests of those who call it, without a model or torch.

It answers as many bases as the null arm does, and counts what it answered. `answer` can be replaced, to
answer wrongly or late.
"""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from prometheus_client import CollectorRegistry, Counter, ProcessCollector, generate_latest

TIMING = "receive;dur=0.1, queue;dur=0.2, compute;dur=0.3, decode;dur=0.1, total;dur=0.7"
PATIENCE_S = 20.0
COMPUTES_S = 0.02
"""What an answer takes, as computing would: clients of a service that answers at once do nothing but send,
and what is measured while the load generator is saturated is rightly void."""


@dataclass
class Reply:
    """What the service says to one request."""

    document: dict[str, Any]
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut_bytes: int = 0
    """How many bytes are missing at the end, after which the connection is closed."""


class WireServer(ThreadingHTTPServer):
    """Listens on loopback, on a free port unless told which, with TLS if given a context."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.server_port}"
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.bases = Counter("fiveways_bases", "Bases called", ["model"], registry=self.registry)
        self.answered = 0
        self.answered_bases = 0
        self.answered_samples = 0
        self.requests: list[dict[str, str]] = []
        """The parameters of every basecall request, with `model` empty where none was asked for."""
        self.headers: list[dict[str, str]] = []
        """The headers of every basecall request."""
        self.targets: list[str] = []
        """The path of every basecall request."""
        self.answer = right_answer
        self.sees: Callable[[str], str] = str
        """What it says that its clients' addresses are, as a translation would have it."""
        self.changed = threading.Condition()
        self.connections = 0
        """How many there have been."""
        self._open: set[socket.socket] = set()

    @property
    def open_connections(self) -> int:
        return len(self._open)

    def get_request(self) -> tuple[socket.socket, Any]:
        request, address = super().get_request()
        with self.changed:
            self.connections += 1
            self._open.add(request)
        return request, address

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self.changed:
            self._open.discard(request)
            self.changed.notify_all()

    def wait_for_connections(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self._open) == count, PATIENCE_S)

    def wait_for_requests(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.requests) >= count, PATIENCE_S)

    def close_connections(self) -> None:
        with self.changed:
            for request in self._open:
                with suppress(OSError):  # it was closed by the other side
                    request.shutdown(socket.SHUT_RDWR)


def right_answer(samples: int, query: dict[str, str]) -> Reply:
    bases = samples // 9
    return Reply(
        {
            "model": query["model"] or "tiny",
            "read_id": query.get("read_id", ""),
            "samples": samples,
            "bases": bases,
            "sequence": ("ACGT" * (bases // 4 + 1))[:bases],
            "qstring": "5" * bases,
            "mean_q": 20.0,
        },
        headers={"Server-Timing": TIMING},
    )


def unhurried_answer(samples: int, query: dict[str, str]) -> Reply:
    """Take some time, like a network being evaluated, so that whoever asks is not busy all the time."""
    threading.Event().wait(0.01)
    return right_answer(samples, query)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: WireServer

    def do_GET(self) -> None:
        page = generate_latest(self.server.registry)
        if self.path.endswith("/v1/peer"):
            page = json.dumps({"address": self.server.sees(self.client_address[0]), "port": 0}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        target = urlsplit(self.path)
        query = {"model": ""} | dict(parse_qsl(target.query))
        with self.server.changed:
            self.server.requests.append(query)
            self.server.targets.append(target.path)
            self.server.headers.append(dict(self.headers.items()))
            self.server.changed.notify_all()
        time.sleep(COMPUTES_S)
        reply = self.server.answer(len(body) // 2, query)
        content = json.dumps(reply.document).encode()
        if reply.status == 200:
            with self.server.changed:
                self.server.answered += 1
                self.server.answered_bases += reply.document["bases"]
                self.server.answered_samples += reply.document["samples"]
                self.server.bases.labels(reply.document["model"]).inc(reply.document["bases"])
        self.send_response(reply.status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[: len(content) - reply.cut_bytes])
        if reply.cut_bytes:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # http.server names it
        """Say nothing."""


@contextmanager
def serving(port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[WireServer]:
    with WireServer(port, tls) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.close_connections()
            server.shutdown()
            thread.join()
