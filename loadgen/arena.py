"""Bodies that are decoded once for all processes that locust forks: memory without a name, mapped by each.

Whoever wants bodies first prepares them, and the others wait and map what is there. It holds the bodies of
one source: whoever wants those of another, chosen later, has them for itself. It ends with the last process
that has it, and one that dies while it prepares leaves the work to the next. Knows no files of reads.
"""

import fcntl
import hashlib
import mmap
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

import orjson

from loadgen.bodies import Body, ReadSource

_HEAD = struct.Struct("<16sQQ")
"""Whose bodies they are, where the index is, and how many bytes it has; written last."""
_NOBODY = bytes(16)
WAIT_S = 0.1
"""How often it is looked whether another process has prepared the bodies."""


class Arena:
    """The memory, which a process has from before it was forked."""

    def __init__(self) -> None:
        self._file = os.memfd_create("fiveways-bodies")
        self._map: mmap.mmap | None = None

    def bodies(
        self,
        source: ReadSource,
        prepare: Callable[[ReadSource], Iterable[Body]],
        rest: Callable[[float], None],
    ) -> list[Body]:
        """Return what `prepare` makes of `source`, whichever process prepares it. Raises what `prepare`
        raises.

        `rest` is called now and then with the seconds to let others run.
        """
        wanted = _name(source)
        with self._locked(rest):
            if self._head()[0] == _NOBODY:
                self._write(wanted, prepare(source), rest)
            if self._head()[0] == wanted:
                return list(self._read())
        own = []
        for body in prepare(source):
            own.append(body)
            rest(0.0)
        return own

    @contextmanager
    def _locked(self, rest: Callable[[float], None]) -> Iterator[None]:
        # A lock of the process, not of the open file, which all processes share.
        while not self._try_lock():
            rest(WAIT_S)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _try_lock(self) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _head(self) -> tuple[bytes, int, int]:
        head = os.pread(self._file, _HEAD.size, 0)
        owner, index_at, index_bytes = _HEAD.unpack(head) if head else (_NOBODY, 0, 0)
        return owner, index_at, index_bytes

    def _write(self, owner: bytes, bodies: Iterable[Body], rest: Callable[[float], None]) -> None:
        index: list[tuple[str, str, int, int, int, str]] = []
        at = _HEAD.size
        for body in bodies:
            length = len(body.content)
            index.append((body.read_id, body.query, at, length, body.samples, body.media_type))
            _write_all(self._file, memoryview(body.content), at)
            at += length
            rest(0.0)
        packed = orjson.dumps(index)
        _write_all(self._file, memoryview(packed), at)
        os.pwrite(self._file, _HEAD.pack(owner, at, len(packed)), 0)

    def _read(self) -> Iterator[Body]:
        _, index_at, index_bytes = self._head()
        if self._map is None:
            self._map = mmap.mmap(self._file, 0, access=mmap.ACCESS_READ)
        content = memoryview(self._map)
        for read_id, query, at, length, samples, media_type in orjson.loads(
            content[index_at : index_at + index_bytes]
        ):
            yield Body(read_id, query, content[at : at + length], samples, media_type)


def _name(source: ReadSource) -> bytes:
    return hashlib.blake2b(orjson.dumps(asdict(source)), digest_size=16).digest()


def _write_all(file: int, content: memoryview, at: int) -> None:
    while content:
        written = os.pwrite(file, content, at)
        content, at = content[written:], at + written
