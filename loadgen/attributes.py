"""Netlink attributes: a length, a kind, a payload, and padding to four bytes; a payload may be attributes."""

import struct
from collections.abc import Iterator
from functools import lru_cache

_HEADER = struct.Struct("=HH")
_PADDING = (b"", bytes(3), bytes(2), bytes(1))
_NESTED = 0x8000
_KIND_MASK = 0x3FFF
LARGEST_PAYLOAD_BYTES = 0xFFFF - _HEADER.size
"""What the length of one attribute can say."""


def attribute(kind: int, payload: bytes) -> bytes:
    """Encode an attribute."""
    length = _HEADER.size + len(payload)
    return _HEADER.pack(length, kind) + payload + _PADDING[length % 4]


def nest(kind: int, attributes: bytes) -> bytes:
    """Encode an attribute made of attributes."""
    return attribute(kind | _NESTED, attributes)


def text(kind: int, value: str) -> bytes:
    """Encode a name."""
    return attribute(kind, value.encode("ascii") + b"\0")


@lru_cache(maxsize=1024)
def be32(kind: int, number: int) -> bytes:
    """Encode a number, which may be negative, in network order."""
    return attribute(kind, struct.pack(">I", number & 0xFFFFFFFF))


def split(attributes: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the kinds and payloads of attributes that follow one another."""
    offset = 0
    while offset < len(attributes):
        length, kind = _HEADER.unpack_from(attributes, offset)
        yield kind & _KIND_MASK, attributes[offset + _HEADER.size : offset + length]
        offset += length + -length % 4
