"""Clients that are slow, gone, too many or too greedy: what becomes of them, on raw sockets."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest
from live_service import WAIT_S, GatedCaller, Running, of, random_signal, serving, wait_for

from service.connection import JoinedWrites


def connect(running: Running, **options: Any) -> socket.socket:
    return socket.create_connection(("127.0.0.1", running.port), WAIT_S, **options)


def head(length: int, path: str = "/v1/basecall", more: str = "") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Length: {length}\r\n{more}\r\n"
    ).encode()


def everything(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def answer(connection: socket.socket) -> bytes:
    """An answer with its whole body, the connection staying open."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    headers, _, body = received.partition(b"\r\n\r\n")
    length = int(headers.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return headers + b"\r\n\r\n" + body


def test_a_read_too_long_is_refused_before_its_body_is_sent() -> None:
    with serving(max_read_samples=1000) as running:
        for length, status in ((2002, b"413"), (10**15, b"413")):
            with connect(running) as connection:
                connection.sendall(head(length))
                assert answer(connection).split()[1] == status
        assert running.call(random_signal(1000)).status_code == 200


def test_a_body_of_unknown_length_is_cut_off_where_it_is_too_long() -> None:
    with serving(max_read_samples=1000) as running, running.client() as client:
        pieces = (b"\0" * 100 for _ in range(30))
        octets = {"content-type": "application/octet-stream"}
        assert client.post("/v1/basecall", content=pieces, headers=octets).status_code == 413


def test_a_json_body_may_be_less_long_than_a_read() -> None:
    with serving() as running, connect(running) as connection:
        connection.sendall(head(9 * 2**20).replace(b"octet-stream", b"json"))
        refused = answer(connection)
        assert refused.split()[1] == b"413" and b"application/octet-stream" in refused


def test_a_client_that_waits_for_leave_is_refused_without_having_sent_anything() -> None:
    with serving(max_read_samples=1000) as running, connect(running) as connection:
        connection.sendall(head(2002, more="Expect: 100-continue\r\n"))
        assert answer(connection).startswith(b"HTTP/1.1 413")
    with serving() as running, connect(running) as connection:
        connection.sendall(head(20, more="Expect: 100-continue\r\n"))
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(bytes(20))
        assert answer(connection).startswith(b"HTTP/1.1 200")


def test_a_connection_goes_on_after_a_refusal_whose_body_arrives() -> None:
    with serving(max_read_samples=1000) as running, connect(running) as connection:
        for _ in range(3):
            connection.sendall(head(4000))
            assert answer(connection).startswith(b"HTTP/1.1 413")
            connection.sendall(bytes(4000))
        connection.sendall(head(20) + bytes(20))
        assert answer(connection).startswith(b"HTTP/1.1 200")


def test_an_upload_that_stalls_is_answered_408_and_closed() -> None:
    with serving(upload_s=0.2) as running, connect(running) as connection:
        connection.sendall(head(2000) + bytes(100))
        assert everything(connection).startswith(b"HTTP/1.1 408")
        wait_for(lambda: running.service.admission.backlog_samples("tiny") == 0)


def test_a_head_that_does_not_end_is_cut_off() -> None:
    with serving(header_s=0.2) as running:
        for begun in (b"", b"POST /v1/base", head(10)[:-2]):
            with connect(running) as connection:
                connection.sendall(begun)
                assert everything(connection) == b""
        with connect(running) as connection:
            connection.sendall(head(20) + bytes(20))
            answer(connection)
            connection.sendall(b"POST")
            assert everything(connection) == b""


def test_a_head_that_is_too_long_is_refused_with_its_reason() -> None:
    with serving(max_header_bytes=2000) as running:
        with connect(running) as connection:
            connection.sendall(head(20, more=f"X-Long: {'x' * 1800}\r\n") + bytes(20))
            assert answer(connection).startswith(b"HTTP/1.1 200")
            connection.sendall(head(20, more=f"X-Long: {'x' * 2000}\r\n") + bytes(20))
            refused = everything(connection)
        assert refused.startswith(b"HTTP/1.1 431 ") and b"longer than 2000 bytes" in refused
        with connect(running) as connection:
            # In pieces, the end of the head in two of them, and a body that is longer than any head.
            whole = head(10_000) + bytes(10_000)
            for at in range(0, len(whole), 7):
                connection.sendall(whole[at : at + 7])
            assert answer(connection).startswith(b"HTTP/1.1 200")
        with connect(running) as connection:
            connection.sendall(b"POST /")
            for _ in range(21):
                connection.sendall(b"x" * 100)
            assert everything(connection).startswith(b"HTTP/1.1 431 ")
        wait_for(lambda: not running.server.server_state.connections)


def test_a_head_after_a_refused_body_is_no_longer_than_any_other() -> None:
    with serving(max_header_bytes=2000, max_read_samples=1000) as running, connect(running) as connection:
        connection.sendall(head(4000))
        assert answer(connection).startswith(b"HTTP/1.1 413")
        connection.sendall(bytes(4000))
        connection.sendall(b"POST /" + b"x" * 2000)
        assert everything(connection).startswith(b"HTTP/1.1 431 ")


def test_a_long_head_behind_a_request_is_refused_when_that_is_answered() -> None:
    caller = GatedCaller()
    with serving(of(caller), max_header_bytes=2000) as running, connect(running) as connection:
        caller.gate.clear()
        connection.sendall(head(20) + bytes(20))
        assert caller.waiting.wait(WAIT_S)
        connection.sendall(b"POST /")
        for _ in range(21):
            connection.sendall(b"x" * 100)
        caller.gate.set()
        received = everything(connection)
    assert received.startswith(b"HTTP/1.1 200") and b"}HTTP/1.1 431 " in received


def test_a_head_behind_a_request_that_does_not_end_is_cut_off_when_that_is_answered() -> None:
    caller = GatedCaller()
    with serving(of(caller), header_s=0.2) as running, connect(running) as connection:
        caller.gate.clear()
        connection.sendall(head(20) + bytes(20))
        assert caller.waiting.wait(WAIT_S)
        connection.sendall(b"POST /v1/base")
        caller.gate.set()
        assert answer(connection).startswith(b"HTTP/1.1 200")
        assert everything(connection) == b""


def test_the_rest_of_a_refused_body_is_not_waited_for_for_ever() -> None:
    with serving(header_s=0.2, max_read_samples=1000) as running, connect(running) as connection:
        connection.sendall(head(4000) + bytes(100))
        assert everything(connection).startswith(b"HTTP/1.1 413")


def test_a_slow_model_is_no_slow_client() -> None:
    caller = GatedCaller()
    with (
        serving(of(caller), header_s=0.1, upload_s=0.1, answer_s=0.1) as running,
        ThreadPoolExecutor() as pool,
    ):
        caller.gate.clear()
        called = pool.submit(running.call, random_signal(100))
        assert caller.waiting.wait(WAIT_S)
        with connect(running) as probe:
            # Longer than each of the limits: it ends with this connection's own.
            assert everything(probe) == b""
        caller.gate.set()
        assert called.result(WAIT_S).status_code == 200


def test_an_answer_that_is_not_taken_is_cut_off() -> None:
    with serving(answer_s=0.2) as running:
        signal = np.tile(random_signal(10_000), 200)
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(WAIT_S)
        connection.connect(("127.0.0.1", running.port))
        with connection:
            # More answers than the kernel holds, and nobody reads them.
            for _ in range(40):
                try:
                    connection.sendall(head(2 * len(signal), more="Accept: text/x-sam\r\n"))
                    connection.sendall(signal.tobytes())
                except OSError:
                    break
            else:
                pytest.fail("the connection was not cut off")


def test_a_client_that_leaves_frees_its_place() -> None:
    caller = GatedCaller()
    with serving(of(caller)) as running, ThreadPoolExecutor() as pool:
        caller.gate.clear()
        first = pool.submit(running.call, random_signal(100))
        assert caller.waiting.wait(WAIT_S)
        with connect(running) as leaving:
            leaving.sendall(head(2000) + bytes(2000))
            wait_for(lambda: running.service.admission.backlog_samples("tiny") >= 1000)
        wait_for(lambda: running.service.admission.backlog_samples("tiny") <= 200)
        caller.gate.set()
        assert first.result(WAIT_S).status_code == 200
        gone = 'fiveways_requests_total{code="499",model="tiny"} 1.0'
        wait_for(lambda: gone in running.service.metrics.page().decode())


def test_a_client_that_leaves_while_it_sends_frees_its_place() -> None:
    with serving() as running:
        with connect(running) as leaving:
            leaving.sendall(head(2000) + bytes(100))
            wait_for(lambda: running.service.lifecycle.requests > 0)
        wait_for(lambda: running.service.lifecycle.requests == 0)
        wait_for(lambda: running.service.admission.backlog_samples("tiny") == 0)


def test_one_client_cannot_have_more_in_flight_than_one_may() -> None:
    caller = GatedCaller()
    with serving(of(caller), max_per_client=2) as running, ThreadPoolExecutor() as pool:
        caller.gate.clear()
        taken = [pool.submit(running.call, random_signal(100)) for _ in range(2)]
        wait_for(lambda: running.service.lifecycle.requests >= 2)
        refused = running.call(random_signal(100))
        assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
        caller.gate.set()
        assert [call.result(WAIT_S).status_code for call in taken] == [200, 200]


def test_a_connection_too_many_is_told_so_and_probes_are_answered() -> None:
    with serving(max_connections=2) as running, connect(running), connect(running):
        with connect(running) as third:
            third.sendall(head(20) + bytes(20))
            refused = everything(third)
            assert refused.startswith(b"HTTP/1.1 503") and b"retry-after" in refused.lower()
        with running.client() as client:
            assert client.get("/healthz").status_code == 200


def test_a_full_backlog_is_answered_before_the_body_with_when_to_come_again() -> None:
    caller = GatedCaller()
    with serving(of(caller), max_backlog_s=0.001) as running, ThreadPoolExecutor() as pool:
        caller.gate.clear()
        long = pool.submit(running.call, np.tile(random_signal(10_000), 100))
        assert caller.waiting.wait(WAIT_S)
        with connect(running) as connection:
            connection.sendall(head(2000))
            refused = answer(connection)
            assert refused.startswith(b"HTTP/1.1 503") and b"\r\nretry-after: " in refused
        with connect(running) as connection:
            connection.sendall(head(20, more="X-Priority: high\r\n") + bytes(20))
            caller.gate.set()
            assert answer(connection).startswith(b"HTTP/1.1 200")
        assert long.result(WAIT_S).status_code == 200


def test_what_cannot_be_done_in_time_is_refused_before_its_body() -> None:
    with serving() as running, connect(running) as connection:
        connection.sendall(head(20_000_000, more="X-Deadline-Ms: 0.01\r\n"))
        assert answer(connection).startswith(b"HTTP/1.1 504")


def test_requests_that_come_at_once_on_one_connection_are_answered_in_order() -> None:
    with serving() as running, connect(running) as connection:
        connection.sendall(b"".join(head(20, f"/v1/basecall?read_id=r{n}") + bytes(20) for n in range(5)))
        received = b""
        while received.count(b'"read_id"') < 5:
            received += connection.recv(65536)
        assert [received.index(b'"r%d"' % n) for n in range(5)] == sorted(
            received.index(b'"r%d"' % n) for n in range(5)
        )


def test_an_answer_comes_in_one_piece() -> None:
    with serving() as running, connect(running) as connection:
        for _ in range(5):
            connection.sendall(head(2000) + bytes(2000))
            headers, _, body = connection.recv(65536).partition(b"\r\n\r\n")
            assert f"content-length: {len(body)}".encode() in headers.split(b"\r\n")
            assert body.endswith(b"}")


class Written(asyncio.Transport):
    """Notes what it is told to do."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []

    def is_closing(self) -> bool:
        return bool({"abort", "close"} & set(self.told))

    def write(self, data: Any) -> None:
        self.told.append(data)

    def writelines(self, list_of_data: Any) -> None:
        self.told.append(tuple(list_of_data))

    def abort(self) -> None:
        self.told.append("abort")

    def close(self) -> None:
        self.told.append("close")

    def write_eof(self) -> None:
        self.told.append("eof")


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], [b"one"]),
        (["two"], [(b"one", b"two")]),
        (["two", "three"], [(b"one", b"two"), b"three"]),
        (["close"], [b"one", "close"]),
        (["eof"], [b"one", "eof"]),
        (["abort"], ["abort"]),
    ],
)
def test_what_is_written_waits_for_more_no_longer_than_the_loop_s_turn(
    steps: list[str], expected: list[Any]
) -> None:
    async def told() -> list[Any]:
        transport = Written()
        joined = JoinedWrites(transport, asyncio.get_running_loop())
        acts = {"close": joined.close, "eof": joined.write_eof, "abort": joined.abort}
        joined.write(b"one")
        for step in steps:
            acts.get(step, partial(joined.write, step.encode()))()
        await asyncio.sleep(0)
        return transport.told

    assert asyncio.run(told()) == expected
