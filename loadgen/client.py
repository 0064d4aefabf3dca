"""One user's way to the service: HTTP over a path, from the network namespace the path begins in.

An answer is either right or an error that says what is wrong with it; nothing is retried. Built on
geventhttpclient, which is what locust's FastHttpUser sends with. Knows neither schedules nor statistics.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import gevent.socket
import gevent.ssl
import orjson
from geventhttpclient.client import HTTPClient
from geventhttpclient.connectionpool import ConnectionPool, SSLConnectionPool
from geventhttpclient.response import HTTPParseError, HTTPSocketPoolResponse
from geventhttpclient.url import URL

from loadgen.bodies import Body
from loadgen.errors import CallError, RejectedError
from loadgen.paths import open_socket
from loadgen.plan import Connection
from loadgen.tally import STAGES
from reads.wire import JSON, OCTET_STREAM

RECEIVE_BYTES = 64 * 1024
"""Bytes taken from a socket at once."""
NDJSON = "application/x-ndjson"
MAX_RETRY_AFTER_S = 60.0
"""The longest a user stays away on the service's word."""

_STAGE = re.compile(r"([\w-]+);dur=([0-9.]+)")


@dataclass(frozen=True, slots=True)
class Answer:
    """A right answer."""

    sequence: str
    bases: int
    samples: int
    response_bytes: int
    client_ms: float
    """From before the connection is taken or opened until the last byte is received."""
    stage_ms: Mapping[str, float]
    """What Server-Timing said about each of tally.STAGES that it named."""


class BasecallClient:
    """At most one connection to `url`, opened in the namespace `netns` (None: where the process is).

    With connection "new", every request has a connection of its own. A context manager; closing it closes
    the connection.
    """

    def __init__(
        self,
        url: str,
        *,
        netns: str | None = None,
        model: str = "",
        connection: Connection = "keep-alive",
        connect_timeout_s: float = 10.0,
        network_timeout_s: float = 60.0,
    ) -> None:
        target = URL(url)
        self._model = model
        self._prefix = target.path.rstrip("/")
        self._model_query = f"model={quote(model)}" if model else ""
        self._headers = {"Connection": "close"} if connection == "new" else {}
        self._http = _PathHTTPClient(
            target,
            netns=netns,
            keep_alive=connection == "keep-alive",
            connection_timeout=connect_timeout_s,
            network_timeout=network_timeout_s,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def basecall(self, body: Body) -> Answer:
        """Send one body and return its answer. Raises CallError, of these RejectedError for a 503."""
        query = "&".join(filter(None, (body.query, self._model_query)))
        uri = f"{self._prefix}/v1/basecall{query and '?' + query}"
        started_s = time.perf_counter()
        # TLS makes a copy of its own, and knows no views.
        sent = bytes(body.content) if self._http.ssl else body.content
        response, content = self._request("POST", uri, sent, body.media_type)
        client_ms = (time.perf_counter() - started_s) * 1e3
        if response.status_code != 200:
            raise _refusal(response, content)
        answer = _checked(content, body, self._model)
        return Answer(
            sequence=answer["sequence"],
            bases=len(answer["sequence"]),
            samples=body.samples,
            response_bytes=len(content),
            client_ms=client_ms,
            stage_ms=parse_server_timing(str(response.get("server-timing", ""))),
        )

    def metrics(self) -> str:
        """Return the service's /metrics page. Raises CallError."""
        response, content = self._request("GET", f"{self._prefix}/metrics")
        if response.status_code != 200:
            raise _refusal(response, content)
        return content.decode()

    def _request(
        self, method: str, uri: str, body: bytes | memoryview = b"", media_type: str = ""
    ) -> tuple[HTTPSocketPoolResponse, bytes]:
        # Of a body that can have many reads, the answer is a line a read: here there is one.
        accept = JSON if media_type == OCTET_STREAM else NDJSON
        said = {"Content-Type": media_type, "Accept": accept} if media_type else {}
        headers = self._headers | said
        try:
            response = self._http.request(method, uri, body=body, headers=headers)
            return response, response.read()
        except (OSError, HTTPParseError) as error:
            raise CallError(f"{type(error).__name__}: {error}") from error


def parse_server_timing(header: str) -> dict[str, float]:
    """Return the durations in ms of the STAGES that a Server-Timing header names."""
    return {name: float(ms) for name, ms in _STAGE.findall(header) if name in STAGES}


def _checked(content: bytes, body: Body, model: str) -> dict[str, Any]:
    """Return the answer in `content`. Raises CallError where it cannot be the answer to `body`."""
    try:
        answer = orjson.loads(content)
        if "error" in answer:
            # Where many reads can be asked for, one that is refused has a record and no status of its own.
            raise _refused_record(answer["error"])
        sequence, qstring = answer["sequence"], answer["qstring"]
        said = {name: answer[name] for name in ("model", "read_id", "samples", "bases")}
        bases, qualities = len(sequence), len(qstring)
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise CallError(f"malformed answer: {error!r}") from error
    expected = {
        "model": model or said["model"],
        "read_id": body.read_id,
        "samples": body.samples,
        "bases": bases,
    }
    for name, value in expected.items():
        if said[name] != value:
            raise CallError(f"wrong answer: {name} is {said[name]!r}, not {value!r}")
    if qualities != bases:
        raise CallError(f"wrong answer: {bases} bases with {qualities} qualities")
    return dict(answer)


def _refused_record(problem: Mapping[str, Any]) -> CallError:
    """Return the error for the record of a read that was refused, in the words of its problem."""
    words = f"{problem['status']} {problem['title']}"
    if problem["status"] == 503:
        return RejectedError(words, retry_after_s=0.0)
    return CallError(words if problem["status"] >= 500 else f"{words}: {problem['detail']}")


def _refusal(response: HTTPSocketPoolResponse, content: bytes) -> CallError:
    """Return the error for an answer whose status is not 200, in the words of its problem document."""
    status = response.status_code
    try:
        problem = orjson.loads(content)
        words = f"{problem['title']}: {problem['detail']}" if status < 500 else str(problem["title"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        words = str(response.status_message or "")
    if status == 503:
        after = str(response.get("retry-after", "")).strip()
        return RejectedError(
            f"503 {words}", retry_after_s=min(float(after), MAX_RETRY_AFTER_S) if after.isdigit() else 0.0
        )
    return CallError(f"{status} {words}")


class _ViewSocket(gevent.socket.socket):  # type: ignore[misc]  # untyped here
    """A socket that sends views of memory as they are: geventhttpclient sends whatever is not bytes as a
    file."""

    def sendfile(self, file: memoryview) -> None:
        """Send the whole of a view, without a copy."""
        self.sendall(file)


class _PathPool(ConnectionPool):  # type: ignore[misc]  # untyped here
    """geventhttpclient's pool, but for where its sockets are opened and whether they are kept."""

    netns: str | None = None
    keep_alive: bool = True
    _addresses: Any = None

    def _resolve(self) -> Any:
        """Look the host up once, so that a new connection costs a connection and nothing else."""
        if self._addresses is None:
            self._addresses = super()._resolve()
        return self._addresses

    def _create_tcp_socket(self, family: int, socktype: int, protocol: int) -> gevent.socket.socket:
        sock = open_socket(self.netns, family, socktype, protocol)
        # gevent's kind of socket, whether or not this process was patched to know no other.
        return _ViewSocket(family, socktype, protocol, fileno=sock.detach())

    def after_connect(self, sock: gevent.socket.socket) -> None:
        """Send the end of a body at once."""
        sock.setsockopt(gevent.socket.IPPROTO_TCP, gevent.socket.TCP_NODELAY, 1)

    def return_socket(self, sock: gevent.socket.socket) -> None:
        """Keep the connection for the next request, or close it."""
        if self.keep_alive:
            super().return_socket(sock)
        else:
            self.release_socket(sock)


class _TlsPathPool(_PathPool, SSLConnectionPool):  # type: ignore[misc]  # untyped here
    """The same over TLS; as with locust's FastHttpUser, certificates are not verified."""


def _trusting_context(**_certificates: str) -> gevent.ssl.SSLContext:
    context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = gevent.ssl.CERT_NONE
    return context


class _PathHTTPClient(HTTPClient):  # type: ignore[misc]  # untyped here
    """geventhttpclient's client, with one connection from the pools above."""

    def __init__(self, target: URL, *, netns: str | None, keep_alive: bool, **timeouts: float) -> None:
        super().__init__(target.host, target.port, block_size=RECEIVE_BYTES)
        self.ssl = target.scheme == "https"
        pool_class = _TlsPathPool if self.ssl else _PathPool
        tls = {"insecure": True, "ssl_context_factory": _trusting_context} if self.ssl else {}
        self._connection_pool = pool_class(
            target.host, target.port, target.host, target.port, size=1, **timeouts, **tls
        )
        self._connection_pool.netns = netns
        self._connection_pool.keep_alive = keep_alive
