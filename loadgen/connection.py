"""One HTTP/1.1 connection to a service, opened in the namespace a path begins in, and used again or not.

Connections and answers are geventhttpclient's, which is what locust's FastHttpUser sends with. A request is
put together here: its head and its body leave by one system call and without a copy. Nothing is sent twice.
Knows neither reads nor answers.
"""

import errno
from types import TracebackType
from typing import Any, Self

import gevent.socket
import gevent.ssl
from geventhttpclient.connectionpool import ConnectionPool, SSLConnectionPool
from geventhttpclient.response import HTTPSocketPoolResponse
from geventhttpclient.url import URL

from loadgen.paths import open_socket

RECEIVE_BYTES = 64 * 1024
"""Bytes taken from a socket at once."""

Buffer = bytes | memoryview


class PathConnection:
    """At most one connection to the host of `target`; opened when it is needed, and closed after each answer
    unless `keep_alive`.

    A context manager; closing it closes the connection.
    """

    def __init__(
        self,
        target: URL,
        *,
        netns: str | None,
        keep_alive: bool,
        connection_timeout: float,
        network_timeout: float,
    ) -> None:
        self._is_tls = target.scheme == "https"
        pool_class = _TlsPathPool if self._is_tls else _PathPool
        tls = {"insecure": True, "ssl_context_factory": _trusting_context} if self._is_tls else {}
        self._pool = pool_class(
            target.host,
            target.port,
            target.host,
            target.port,
            size=1,
            connection_timeout=connection_timeout,
            network_timeout=network_timeout,
            **tls,
        )
        self._pool.netns = netns
        self._pool.keep_alive = keep_alive
        said = {"Host": target.netloc.rpartition("@")[2], "User-Agent": "fiveways"}
        if not keep_alive:
            said["Connection"] = "close"
        self._fields = "".join(f"{name}: {value}\r\n" for name, value in said.items())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._pool.close()

    def request(self, method: str, uri: str, fields: str, body: Buffer) -> HTTPSocketPoolResponse:
        """Send a request with more header `fields`, each of them ended, and return the answer once its head
        is there. Raises OSError or HTTPParseError."""
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        head = f"{method} {uri} HTTP/1.1\r\n{self._fields}{fields}{length}\r\n".encode("latin-1")
        sock = self._pool.get_socket()
        try:
            if self._is_tls:
                # TLS makes a copy of its own, and knows no parts.
                sock.sendall(head + bytes(body))
            else:
                _send_parts(sock, head, body)
        except OSError as error:
            # A service that refuses a body may answer, and close, before it has all of it.
            if error.errno not in {errno.ECONNRESET, errno.EPIPE}:
                self._pool.release_socket(sock)
                raise
        except BaseException:
            # The rest of the body would be taken for the next request.
            self._pool.release_socket(sock)
            raise
        return HTTPSocketPoolResponse(sock, self._pool, block_size=RECEIVE_BYTES, method=method)


def _send_parts(sock: gevent.socket.socket, *parts: Buffer) -> None:
    """Send all of `parts`. Raises OSError."""
    sent = sock.sendmsg(parts)
    for part in parts:
        if sent < len(part):
            sock.sendall(memoryview(part)[sent:])
        sent = max(0, sent - len(part))


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
        return gevent.socket.socket(family, socktype, protocol, fileno=sock.detach())

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
