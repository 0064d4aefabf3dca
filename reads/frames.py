"""How the decoder process talks: frames of JSON and signal through a pipe.

Pure: bytes in, values out. What a crashed or corrupted decoder sends is never unpickled and never trusted
with a length.
"""

import json
import struct
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np

from reads.read import Calibration, Origin, Read, Signal
from reads.validity import MAX_SIGNAL_SAMPLES

MAX_MESSAGE_BYTES = 1 << 20
Frame = Iterable[bytes | memoryview]
_PREFIX = struct.Struct("<II")
PREFIX_BYTES = _PREFIX.size


def pack(message: dict[str, Any], signal: Signal | None = None) -> Frame:
    """Return the parts of a frame: lengths, `message` as JSON, and the samples of `signal`."""
    text = json.dumps(message).encode()
    samples = np.zeros(0, np.int16) if signal is None else np.ascontiguousarray(signal, "<i2")
    return _PREFIX.pack(len(text), len(samples)), text, samples.view(np.uint8).data


def unpack_lengths(prefix: bytes) -> tuple[int, int]:
    """Return the lengths of the message [bytes] and the signal [samples] that follow. Raises ValueError."""
    message_bytes, signal_samples = _PREFIX.unpack(prefix)
    if message_bytes > MAX_MESSAGE_BYTES or signal_samples > MAX_SIGNAL_SAMPLES:
        raise ValueError(f"a frame of {message_bytes} bytes and {signal_samples} samples")
    return message_bytes, signal_samples


def pack_read(read: Read) -> Frame:
    """Return the parts of the frame that carries `read`."""
    message = {
        "is": "read",
        "read_id": read.read_id,
        "calibration": asdict(read.calibration),
        "sample_rate": read.sample_rate,
        "origin": asdict(read.origin),
    }
    return pack(message, read.signal)


def unpack_read(message: dict[str, Any], signal: Signal) -> Read:
    """Return the read that `pack_read` packed."""
    return Read(
        read_id=message["read_id"],
        signal=signal,
        calibration=Calibration(**message["calibration"]),
        sample_rate=message["sample_rate"],
        origin=Origin(**message["origin"]),
    )
