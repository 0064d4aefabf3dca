"""HTTPS: with the certificate that is in the files now."""

import shutil
import socket
import ssl
from pathlib import Path

import httpx
import numpy as np
import pytest
from certificates import make_certificate
from live_service import WAIT_S, Running, call, random_signal, serving, wait_for

from service.server import ServeError
from service.settings import Settings, SettingsError


def certified(folder: Path) -> dict[str, Path]:
    return dict(zip(("tls_cert", "tls_key"), make_certificate(folder), strict=True))


def https(running: Running, trusted: Path) -> httpx.Client:
    verify = ssl.create_default_context(cafile=str(trusted))
    return httpx.Client(base_url=f"https://127.0.0.1:{running.port}", verify=verify, timeout=WAIT_S)


def test_calls_are_taken_over_tls_and_no_others(tmp_path: Path) -> None:
    files = certified(tmp_path)
    with serving(**files) as running, https(running, files["tls_cert"]) as client:
        signal = random_signal(2_000_000)
        assert call(client, signal).json()["samples"] == len(signal)
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"http://127.0.0.1:{running.port}/healthz", timeout=WAIT_S)


def test_a_new_certificate_counts_for_new_connections(tmp_path: Path) -> None:
    files = certified(tmp_path)
    old = tmp_path / "old.pem"
    shutil.copy(files["tls_cert"], old)
    with serving(**files) as running, https(running, old) as before:
        assert before.get("/healthz").status_code == 200
        certified(tmp_path)
        with https(running, files["tls_cert"]) as client:
            assert client.get("/healthz").status_code == 200
        files["tls_cert"].write_text("half a certif")
        with https(running, old) as client, pytest.raises(httpx.ConnectError, match="certificate"):
            client.get("/healthz")
        # The connection that was there goes on.
        assert before.get("/healthz").status_code == 200


def test_an_answer_that_is_not_taken_is_cut_off_over_tls_too(tmp_path: Path) -> None:
    files = certified(tmp_path)
    with serving(answer_s=0.3, **files) as running, socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.settimeout(WAIT_S)
        plain.connect(("127.0.0.1", running.port))
        context = ssl.create_default_context(cafile=str(files["tls_cert"]))
        with context.wrap_socket(plain, server_hostname="localhost") as connection:
            signal = np.tile(random_signal(10_000), 200)
            head = (
                "POST /v1/basecall HTTP/1.1\r\nHost: here\r\nAccept: text/x-sam\r\n"
                f"Content-Type: application/octet-stream\r\nContent-Length: {2 * len(signal)}\r\n\r\n"
            )
            # More answers than the kernel holds, and nobody reads them.
            with pytest.raises(OSError):
                for _ in range(40):
                    connection.sendall(head.encode() + signal.tobytes())
        wait_for(lambda: not running.server.server_state.connections)


@pytest.mark.parametrize("spoilt", ["tls_cert", "tls_key"])
def test_files_that_are_no_certificate_are_one_line(tmp_path: Path, spoilt: str) -> None:
    files = certified(tmp_path)
    files[spoilt].write_text("not PEM")
    with pytest.raises(ServeError, match=r"--tls-cert .* cannot be used: ") as refused, serving(**files):
        pass
    assert refused.value.status == 2


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    files = certified(tmp_path)
    with pytest.raises(SettingsError, match="belong together"):
        Settings(tls_cert=files["tls_cert"])
    with pytest.raises(SettingsError, match="--tls-key: there is no file"):
        Settings(tls_cert=files["tls_cert"], tls_key=tmp_path / "none")
