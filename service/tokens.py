"""Bearer tokens: who may call, from a file that is read again when it changes."""

import hmac
import logging
from hashlib import sha256
from pathlib import Path

from service.errors import UnauthorizedError

logger = logging.getLogger(__name__)


class Tokens:
    """The tokens of `path`, one a line; empty lines, and lines that begin with #, are none.

    Raises OSError where the file cannot be read when this is made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version = self._stat()
        self._digests = self._read()

    def check(self, authorization: str) -> str:
        """Return the name under which the bearer of this Authorization field is counted.

        Raises UnauthorizedError. Takes the same time for every token that is not allowed.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise UnauthorizedError("send it as: Authorization: Bearer TOKEN")
        self._read_again()
        digest = sha256(token.strip().encode()).digest()
        # Every one is compared: how long this takes must not tell which came close.
        if not sum(hmac.compare_digest(digest, allowed) for allowed in self._digests):
            raise UnauthorizedError("this token is not among those allowed")
        return "token:" + digest.hex()[:16]

    def _read_again(self) -> None:
        try:
            version = self._stat()
            if version != self._version:
                self._digests, self._version = self._read(), version
                logger.info(
                    "tokens read again", extra={"path": str(self._path), "tokens": len(self._digests)}
                )
        except (OSError, UnicodeDecodeError) as error:
            logger.warning("tokens cannot be read again", extra={"path": str(self._path), "why": str(error)})

    def _stat(self) -> tuple[int, int, int]:
        status = self._path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _read(self) -> tuple[bytes, ...]:
        lines = (line.strip() for line in self._path.read_text().splitlines())
        return tuple(sha256(line.encode()).digest() for line in lines if line and not line.startswith("#"))
