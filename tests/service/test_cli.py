"""`fiveways serve` as a process: its one line, its exit statuses, inherited sockets, its memory."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from certificates import make_certificate
from live_service import WAIT_S, random_signal, read_of

from reads.arrow_stream import reads_to_stream
from service.unpacker import DECODERS

START_S = 120.0
COMMAND = (sys.executable, "-c", "import typer; from service.cli import serve; typer.run(serve)")
READY = re.compile(r"fiveways: (\S+) is ready on (.+)")


@contextmanager
def serve(
    *arguments: str, fds: Sequence[int] = (), **environment: str
) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run it until the block ends; yields the process and the URLs that it says it is ready on."""
    process = subprocess.Popen(
        [*COMMAND, "-m", "null", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=fds,
        env=os.environ | environment,
    )
    with process:
        try:
            assert process.stderr
            for line in process.stderr:
                if found := READY.search(line):
                    yield process, found[2].split(", ")
                    break
            else:
                pytest.fail("it was not ready")
        finally:
            process.kill()


def refused(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run it to its end, and return the exit status and what it said."""
    ended = subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        check=False,
        text=True,
        timeout=START_S,
        env=os.environ | environment,
    )
    assert ended.stdout == ""
    return ended.returncode, ended.stderr


def call(url: str) -> httpx.Response:
    octets = {"content-type": "application/octet-stream"}
    return httpx.post(
        url + "/v1/basecall", content=random_signal(90).tobytes(), headers=octets, timeout=WAIT_S
    )


def test_it_serves_on_the_address_that_it_says_and_ends_with_0_on_sigterm() -> None:
    with serve("--port", "0") as (process, (url,)):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
        assert call(url).json()["bases"] == 10
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_S) == 0


def test_ctrl_c_ends_it_with_130() -> None:
    with serve("--port", "0") as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(START_S) == 130


def test_it_serves_on_every_inherited_socket_and_on_no_other() -> None:
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        fds = [listener.fileno() for listener in listeners]
        arguments = [argument for fd in fds for argument in ("--fd", str(fd))]
        with serve(*arguments, fds=fds) as (_, urls):
            assert urls == [f"http://127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]
            assert [call(url).status_code for url in urls] == [200, 200]


def test_options_are_environment_variables_too() -> None:
    with serve(FIVEWAYS_PORT="0", FIVEWAYS_MAX_READ_SAMPLES="50", FIVEWAYS_LOG_LEVEL="warning") as (
        _,
        (url,),
    ):
        assert call(url).status_code == 413


def test_a_port_that_is_taken_is_one_line_and_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, said = refused("-m", "null", "--port", str(taken.getsockname()[1]))
    assert (status, said.count("\n")) == (1, 1)
    assert "Address already in use" in said and "--port" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--port", "70000"), "--port is 70000; it can be 0 to 65535"),
        (("--log-level", "loud"), "debug, info, warning, error"),
        (("--max-signal-mib", "1"), "--max-signal-mib is 1"),
        (("--tokens", "/nowhere"), "/nowhere"),
        (("--fd", "987"), "--fd 987"),
        (("--host", "no.such.host.invalid"), "no.such.host.invalid"),
        (("--device", "cpu,"), "--device"),
        (("-m", "no-such-model", "--port", "0"), "no-such-model"),
    ],
)
def test_what_is_used_wrongly_is_one_line_and_2(arguments: tuple[str, ...], said: str) -> None:
    status, lines = refused(*arguments)
    assert (status, lines.count("\n")) == (2, 1)
    assert lines.startswith("fiveways serve: ") and said in lines


def test_the_memory_for_signal_is_bounded_under_a_flood() -> None:
    limits = ("--max-read-samples", "1000000", "--max-signal-mib", "32", "--port", "0")
    with serve(*limits) as (process, (url,)), ExitStack() as stack:
        port = int(url.rpartition(":")[2])
        assert call(url).status_code == 200
        before = psutil.Process(process.pid).memory_info().rss
        statuses = []
        length = 2_000_000
        head = (
            "POST /v1/basecall HTTP/1.1\r\nHost: here\r\nContent-Type: application/octet-stream\r\n"
            f"Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
        )
        for _ in range(200):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), WAIT_S))
            connection.sendall(head.encode())
            statuses.append(connection.recv(4096).split()[1])
            if statuses[-1] == b"100":
                # All but the last byte: what is admitted stays, and holds its memory.
                connection.sendall(bytes(length - 1))
        assert call(url).status_code in {200, 503}
        grown = psutil.Process(process.pid).memory_info().rss - before
        admitted = statuses.count(b"100")
        assert 1 <= admitted < 10 and statuses.count(b"503") == 200 - admitted
        assert grown < 64 * 2**20


def test_the_memory_for_signal_is_bounded_under_a_flood_of_bombs() -> None:
    limits = ("--max-read-samples", "1000000", "--max-signal-mib", "32", "--port", "0")
    silence = np.zeros(900_000, np.int16)
    bomb = reads_to_stream([read_of(silence, f"r{index}") for index in range(2)], vbz=True)
    assert len(bomb) < 2000

    def post(url: str) -> int:
        headers = {"content-type": "application/vnd.apache.arrow.stream"}
        return httpx.post(url + "/v1/basecall", content=bomb, headers=headers, timeout=WAIT_S).status_code

    with serve(*limits) as (process, (url,)), ThreadPoolExecutor(16) as pool:
        assert post(url) == 200
        before = psutil.Process(process.pid).memory_info().rss
        statuses = list(pool.map(post, [url] * 24))
        grown = psutil.Process(process.pid).memory_info().rss - before
        assert set(statuses) <= {200, 503} and 200 in statuses
        assert grown < 64 * 2**20
        decoders = psutil.Process(process.pid).children(recursive=True)
        assert 1 <= len(decoders) <= DECODERS
        assert post(url) == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_S) == 0
        assert not any(decoder.is_running() for decoder in decoders)


def test_a_certificate_makes_it_https_and_half_of_one_is_used_wrongly(tmp_path: Path) -> None:
    certificate, key = map(str, make_certificate(tmp_path))
    with serve("--port", "0", "--tls-cert", certificate, FIVEWAYS_TLS_KEY=key) as (_, (url,)):
        assert url.startswith("https://127.0.0.1:")
        assert httpx.get(url + "/healthz", verify=False, timeout=WAIT_S).status_code == 200  # noqa: S501
    status, said = refused("-m", "null", "--tls-cert", certificate)
    assert (status, said.count("\n")) == (2, 1) and "belong together" in said
    status, said = refused("-m", "null", "--port", "0", "--tls-cert", certificate, "--tls-key", certificate)
    assert (status, said.count("\n")) == (2, 1) and "cannot be used" in said


def test_traces_that_cannot_be_sent_are_used_wrongly() -> None:
    status, said = refused("-m", "null", "--port", "0", OTEL_TRACES_EXPORTER="carrier-pigeon")
    assert (status, said.count("\n")) == (2, 1) and "otlp or none" in said
