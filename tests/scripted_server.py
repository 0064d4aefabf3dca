"""A small HTTP server that answers as a test's script says: for clients of the service."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson


@dataclass(frozen=True)
class Asked:
    """One request for a call. `number` counts them, from 0; `headers` in lower case."""

    number: int
    query: dict[str, str]
    headers: dict[str, str]
    samples: int


@dataclass(frozen=True)
class Reply:
    """An answer; one of status 0 is none: the connection is reset."""

    status: int = 200
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


Script = Callable[[Asked], Reply]


def fastq(asked: Asked, bases: int = 4) -> Reply:
    """The right answer."""
    title = f"@{asked.query['read_id']}\tqs:f:20\tns:i:{asked.samples}\tts:i:0"
    return Reply(content=f"{title}\n{'A' * bases}\n+\n{'5' * bases}\n".encode())


def problem(status: int, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(
        status, orjson.dumps({"type": "about:blank", "title": "No", "detail": f"this is {status}"}), named
    )


class ScriptedServer(ThreadingHTTPServer):
    """Answers requests for calls as `script` says, and is always ready."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.script = script
        self.asked: list[Asked] = []
        self.lock = threading.Lock()

    def note(self, query: dict[str, str], headers: Message, samples: int) -> Asked:
        said = {name.lower(): value for name, value in headers.items()}
        with self.lock:
            self.asked.append(Asked(len(self.asked), query, said, samples))
            return self.asked[-1]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: ScriptedServer

    def do_GET(self) -> None:
        listed = {"models": [{"name": "m@1", "default": True, "sample_rate": 4000.0}]}
        self._send(Reply(content=orjson.dumps(listed)))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        query = dict(parse_qsl(urlsplit(self.path).query))
        self._send(self.server.script(self.server.note(query, self.headers, len(body) // 2)))

    def _send(self, reply: Reply) -> None:
        if not reply.status:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(reply.content)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # http.server names it
        """Say nothing."""


@contextmanager
def scripted(script: Script) -> Iterator[ScriptedServer]:
    with ScriptedServer(script) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
