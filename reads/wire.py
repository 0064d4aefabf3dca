"""Reads as they travel over HTTP, v1: the words of a request and the bodies that a read can be.

Used by those who send and by those who receive. A body becomes a `Read` without a copy where its form allows
that. Knows neither requests nor status codes: what is wrong is a WireError, which says what would be right.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from reads.errors import ReadsError
from reads.read import Signal

OCTET_STREAM = "application/octet-stream"
"""One read: its samples as little-endian int16, nothing else."""
JSON = "application/json"
"""One read as an object: `signal`, and any of the words of ReadWords."""
ARROW_STREAM = "application/vnd.apache.arrow.stream"
"""Many reads, as `reads.arrow_stream` has them."""
HDF5 = "application/x-hdf5"
"""The reads of a fast5 file: its bytes."""
POD5 = "application/vnd.pod5"
"""The reads of a pod5 file: its bytes."""
SIGNATURES = {ARROW_STREAM: b"\xff\xff\xff\xff", HDF5: b"\x89HDF\r\n\x1a\n", POD5: b"\x8bPOD\r\n\x1a\n"}
"""The bodies of many reads, and what their bytes begin with."""
SAMPLE_BYTES = 2
READ_ID = re.compile(r"[!-?A-~]{1,254}")
"""What a read may be called: as SAM has it, so that every answer can carry it."""

_INT16 = np.iinfo(np.int16)


class WireError(ReadsError):
    """A request cannot be understood, or makes no sense."""


class MalformedError(WireError):
    """Not of the form that it should have."""


class ImpossibleError(WireError):
    """Of the right form, with a value that no read has."""


@dataclass(frozen=True, slots=True)
class ReadWords:
    """What a request may say about its read; None where it is silent."""

    read_id: str | None = None
    sample_rate: float | None = None
    """In Hz."""
    offset: float | None = None
    scale: float | None = None
    """pA = (sample + offset) * scale."""


def parse_words(words: Mapping[str, str]) -> ReadWords:
    """Return what a query says about its read. Raises WireError; a word that is none is malformed."""
    for word in words:
        if word not in ReadWords.__slots__:
            raise MalformedError(f"{word!r} is none of {', '.join(ReadWords.__slots__)}")
    numbers = {word: _number(word, text) for word, text in words.items() if word != "read_id"}
    return _checked(ReadWords(read_id=words.get("read_id"), **numbers))


def signal_from_bytes(body: bytes | bytearray | memoryview) -> Signal:
    """Return an octet-stream body as int16 [samples]: a view of `body`. Raises MalformedError."""
    if not len(body):
        raise MalformedError("the body is empty; send at least one sample, a little-endian int16")
    if len(body) % SAMPLE_BYTES:
        raise MalformedError(
            f"the body has {len(body)} bytes, an odd number; samples are little-endian int16"
        )
    signal: Signal = np.frombuffer(body, "<i2")
    return signal


def signal_to_bytes(signal: Signal) -> bytes:
    """Return int16 [samples] as an octet-stream body."""
    return signal.astype("<i2", copy=False).tobytes()


def read_from_json(body: bytes | bytearray | memoryview) -> tuple[Signal, ReadWords]:
    """Return the signal and the words of a JSON body. Raises WireError.

    Takes some 40 bytes of memory for each byte of `body`: bound it first.
    """
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedError(f"the body is not JSON: {error}") from error
    if not isinstance(read, dict) or "signal" not in read:
        raise MalformedError('the body is not an object with a signal, such as {"signal": [512, 498, 530]}')
    signal = signal_from_list(read.pop("signal"))
    for word in read:
        if word not in ReadWords.__slots__:
            raise MalformedError(f"{word!r} is none of signal, {', '.join(ReadWords.__slots__)}")
    read_id = read.pop("read_id", None)
    if read_id is not None and not isinstance(read_id, str):
        raise MalformedError(f"read_id is {read_id!r}, not a string")
    for word, value in read.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise MalformedError(f"{word} is {value!r}, not a number")
    return signal, _checked(ReadWords(read_id=read_id, **read))


def check_signature(body_type: str, body: bytes | bytearray | memoryview) -> None:
    """Raise MalformedError unless a body of many reads begins as its type does."""
    signature = SIGNATURES[body_type]
    if body[: len(signature)] != signature:
        raise MalformedError(
            f"the body is said to be {body_type}, which begins with {signature!r}, and it begins with "
            f"{bytes(body[: len(signature)])!r}"
        )


def signal_from_list(samples: Any) -> Signal:
    """Return a list of numbers, as JSON has it, as int16 [samples]. Raises WireError."""
    if not isinstance(samples, list) or not samples:
        raise MalformedError("signal is not a list of at least one sample")
    # A list of anything but integers would be converted, or become an array of objects, without a word.
    if any(type(sample) is not int for sample in samples):
        raise MalformedError("signal holds something that is not an integer; samples are int16")
    if min(samples) < _INT16.min or max(samples) > _INT16.max:
        raise ImpossibleError(f"signal goes beyond int16: samples are {_INT16.min} to {_INT16.max}")
    return np.array(samples, np.int16)


def _number(word: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise MalformedError(f"{word} is {text!r}, not a number") from error


def _checked(words: ReadWords) -> ReadWords:
    if words.read_id is not None and not READ_ID.fullmatch(words.read_id):
        raise ImpossibleError(
            f"read_id is {words.read_id[:300]!r}; it is 1 to 254 visible ASCII characters other than @"
        )
    for word, value in (("sample_rate", words.sample_rate), ("scale", words.scale)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ImpossibleError(f"{word} is {value:g}; it is a finite number above 0")
    if words.offset is not None and not math.isfinite(words.offset):
        raise ImpossibleError(f"offset is {words.offset:g}; it is a finite number")
    return words
