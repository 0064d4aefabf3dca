"""What a connection promises: a request arrives whole, an early answer is heard, and no half of a request is
left to the next one."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gevent
import pytest
from geventhttpclient.response import HTTPParseError
from geventhttpclient.url import URL

from loadgen.connection import PathConnection

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
REFUSED = b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
FIELDS = "Content-Type: application/octet-stream\r\n"
TOO_LARGE_FOR_BUFFERS = memoryview(bytes(range(256)) * (64 * 1024))
"""16 MiB: more than the kernel takes at once, however it is tuned."""


@contextmanager
def listening(serve: Callable[[socket.socket], None], connections: int = 1) -> Iterator[URL]:
    """Have `serve` look after each of so many connections, one after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            for _ in range(connections):
                connection, _ = listener.accept()
                with connection:
                    serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        yield URL(f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()


def connect(target: URL) -> PathConnection:
    return PathConnection(target, netns=None, keep_alive=True, connection_timeout=10.0, network_timeout=10.0)


def receive(connection: socket.socket) -> tuple[bytes, bytes]:
    """Return the head and the body of a request."""
    with connection.makefile("rb") as stream:
        head = b"".join(iter(stream.readline, b"\r\n"))
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        return head, stream.read(length)


@pytest.mark.parametrize("body", [memoryview(b"x"), b"bytes", TOO_LARGE_FOR_BUFFERS], ids=len)
def test_a_request_arrives_whole_and_says_how_long_it_is(body: bytes | memoryview) -> None:
    requests = []

    def serve(connection: socket.socket) -> None:
        requests.append(receive(connection))
        connection.sendall(OK)

    with listening(serve) as target, connect(target) as client:
        assert client.request("POST", "/v1/basecall?a=b", FIELDS, body).read() == b"ok"
    ((head, received),) = requests
    assert received == body
    assert head.decode().splitlines() == [
        "POST /v1/basecall?a=b HTTP/1.1",
        f"Host: {target.netloc}",
        "User-Agent: fiveways",
        "Content-Type: application/octet-stream",
        f"Content-Length: {len(body)}",
    ]


def test_an_answer_that_comes_before_the_whole_body_was_sent_is_heard() -> None:
    def serve(connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            stream.readline()
        connection.sendall(REFUSED)
        # Closed at once, it would be reset, and the answer thrown away with it: a server lingers.
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 20):
            pass

    with listening(serve) as target, connect(target) as client:
        assert client.request("POST", "/", FIELDS, TOO_LARGE_FOR_BUFFERS).status_code == 413


def test_a_request_that_is_given_up_leaves_no_half_of_it_to_the_next() -> None:
    given_up = threading.Event()
    requests = []

    def serve(connection: socket.socket) -> None:
        if not given_up.is_set():
            given_up.wait()
            return
        requests.append(receive(connection))
        connection.sendall(OK)

    with listening(serve, connections=2) as target, connect(target) as client:
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
            client.request("POST", "/", FIELDS, TOO_LARGE_FOR_BUFFERS)
        given_up.set()
        assert client.request("POST", "/", FIELDS, b"next").read() == b"ok"
    assert [received for _, received in requests] == [b"next"]


def test_a_service_that_goes_away_while_it_is_sent_to_is_an_error() -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with (
        listening(serve) as target,
        connect(target) as client,
        pytest.raises((ConnectionError, HTTPParseError)),
    ):
        client.request("POST", "/", FIELDS, TOO_LARGE_FOR_BUFFERS)
