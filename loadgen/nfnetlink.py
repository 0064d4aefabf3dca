"""The socket over which the kernel of a network namespace is given nftables rules, and asked what it has.

A ruleset goes in batches, each of which holds whole or not at all. `loadgen.nftables` makes the rules.
"""

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from loadgen.attributes import split, text
from loadgen.errors import LabError
from loadgen.nftables import Message, Table
from loadgen.paths import open_socket

_NETLINK_NETFILTER = 12
_SUBSYSTEM = 10
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_REQUEST, _DUMP, _CREATE, _APPEND = 0x1, 0x300, 0x400, 0x800
_ERROR, _DONE = 2, 3
_GETRULE, _GETSETELEM = 7, 13
_ELEMENTS = 3
_HEADER = struct.Struct("=IHHII")
_INT = struct.Struct("=i")
_GENERIC = struct.Struct(">BBH")
_RECEIVE_BYTES = 1 << 20
_WISHED_SEND_BYTES = 4 << 20
_OVERHEAD_BYTES = 4096
"""What the kernel keeps of a send buffer for itself, generously."""


class Nfnetlink:
    """A connection to the nftables of a network namespace, given as a file or None for one's own."""

    def __init__(self, netns: str | None) -> None:
        self._socket = open_socket(netns, socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        self._socket.bind((0, 0))
        # Only root of the machine may have more than net.core.wmem_max, so take what is given.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _WISHED_SEND_BYTES)
        self._batch_bytes = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) - _OVERHEAD_BYTES

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def apply(self, messages: Iterable[Message]) -> None:
        """Make the changes in their order. Raises LabError, which names the first that the kernel refused."""
        batch: list[Message] = []
        room = self._batch_bytes
        for message in messages:
            size = _HEADER.size + _GENERIC.size + len(message.body)
            if size > room:
                self._send(batch)
                batch, room = [], self._batch_bytes
            batch.append(message)
            room -= size
        self._send(batch)

    def rules(self, table: Table, chain: str) -> int:
        """Return how many rules a chain has. Raises LabError."""
        return sum(1 for _ in self._dump(_GETRULE, text(1, table.name) + text(2, chain)))

    def elements(self, table: Table, name: str) -> int:
        """Return how many elements a set or map has. Raises LabError."""
        answers = self._dump(_GETSETELEM, text(1, table.name) + text(2, name))
        lists = (payload for answer in answers for kind, payload in split(answer) if kind == _ELEMENTS)
        return sum(1 for elements in lists for _ in split(elements))

    def _send(self, batch: list[Message]) -> None:
        begin = _packet(_BATCH_BEGIN, _REQUEST, 0, b"", subsystem=_SUBSYSTEM)
        end = _packet(_BATCH_END, _REQUEST, 0, b"", subsystem=_SUBSYSTEM)
        changes = (
            _packet(_SUBSYSTEM << 8 | message.kind, _REQUEST | _CREATE | _APPEND, number, message.body)
            for number, message in enumerate(batch)
        )
        self._socket.send(b"".join((begin, *changes, end)))
        # The kernel has done it all when `send` returns, and by then has said what it refused, if anything.
        for kind, number, body in self._answers(socket.MSG_DONTWAIT):
            if kind == _ERROR:
                code = -_INT.unpack_from(body)[0]
                what = batch[number].what if number < len(batch) else "the batch"
                raise LabError(f"the kernel refuses nftables {what}: {os.strerror(code)}")

    def _dump(self, kind: int, asked: bytes) -> Iterator[bytes]:
        """Yield the attributes of every message of an answer."""
        self._socket.send(_packet(_SUBSYSTEM << 8 | kind, _REQUEST | _DUMP, 0, asked))
        for kind_of_answer, _, body in self._answers(0):
            if kind_of_answer == _DONE:
                return
            if kind_of_answer == _ERROR:
                raise LabError(f"nftables does not answer: {os.strerror(-_INT.unpack_from(body)[0])}")
            yield body[_GENERIC.size :]

    def _answers(self, flags: int) -> Iterator[tuple[int, int, bytes]]:
        """Yield kind, sequence number and body of what arrives; with MSG_DONTWAIT, of what has arrived."""
        while True:
            try:
                data = self._socket.recv(_RECEIVE_BYTES, flags)
            except BlockingIOError:
                return
            offset = 0
            while offset < len(data):
                length, kind, _, number, _ = _HEADER.unpack_from(data, offset)
                yield kind, number, data[offset + _HEADER.size : offset + length]
                offset += length + -length % 4


def _packet(kind: int, flags: int, number: int, body: bytes, *, subsystem: int = 0) -> bytes:
    generic = _GENERIC.pack(socket.AF_INET if not subsystem else 0, 0, subsystem)
    return _HEADER.pack(_HEADER.size + len(generic) + len(body), kind, flags, number, 0) + generic + body
