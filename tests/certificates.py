"""Certificates that tests make for themselves, of localhost and 127.0.0.1."""

import shutil
import ssl
import subprocess
from pathlib import Path

from conftest import missing


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate and its key in `folder`, and return the two files."""
    openssl = shutil.which("openssl") or missing("openssl")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    made = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2")
    named = ("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    subprocess.run(
        [openssl, *made, *named, "-keyout", key, "-out", certificate], check=True, capture_output=True
    )
    return certificate, key


def server_context(folder: Path) -> ssl.SSLContext:
    """Return the context of a server with a certificate of its own, which is made in `folder`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*make_certificate(folder))
    return context
