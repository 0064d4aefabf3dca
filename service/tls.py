"""TLS: a certificate and its key, from files that are read again when they change (every few weeks)."""

import logging
import ssl
from pathlib import Path

logger = logging.getLogger(__name__)


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the context of connections that show `certificate`. Raises OSError, ssl.SSLError among them.

    Those that come after a change of the files show the new one, or go on with the last that could be read.
    """
    files = (certificate, key)
    versions, current = _versions(files), _read(files)

    def show(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        nonlocal versions, current
        try:
            if (found := _versions(files)) != versions:
                versions, current = found, _read(files)
                logger.info("certificate read again", extra={"path": str(certificate)})
        except OSError as error:
            logger.warning(
                "certificate cannot be read again", extra={"path": str(certificate), "why": str(error)}
            )
        connection.context = current

    listening = _read(files)
    listening.sni_callback = show
    return listening


def _read(files: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # A key with a password would otherwise be asked for on a terminal that nobody looks at.
    context.load_cert_chain(*files, password=lambda: "")
    return context


def _versions(files: tuple[Path, Path]) -> list[tuple[int, int, int]]:
    return [(status.st_mtime_ns, status.st_size, status.st_ino) for status in (path.stat() for path in files)]
