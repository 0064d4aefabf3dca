"""Basecalls as an Arrow IPC stream: a record batch a read, so that each is sent when it is done. Pure.

read_id   utf8
status    int16        200; or the status that the read would have been refused with alone
error     utf8         why it is not called; null where it is, as what follows is where it is not
samples   int64        of the read
sequence  utf8
qstring   utf8         Phred+33
mean_q    double
moves     list<uint8>  1 where a step of `stride` samples emitted a base
stride    int32
"""

from typing import Any

import pyarrow as pa

from models.basecall import Basecall
from reads.read import Read

SCHEMA = pa.schema(
    [
        pa.field("read_id", pa.string(), nullable=False),
        pa.field("status", pa.int16(), nullable=False),
        ("error", pa.string()),
        ("samples", pa.int64()),
        ("sequence", pa.string()),
        ("qstring", pa.string()),
        ("mean_q", pa.float64()),
        ("moves", pa.list_(pa.uint8())),
        ("stride", pa.int32()),
    ]
)
END = b"\xff\xff\xff\xff\0\0\0\0"
"""What ends a stream: a message of no length."""


def begin() -> bytes:
    """Return what comes before the first batch."""
    return _bytes(SCHEMA.serialize())


def called(read: Read, call: Basecall) -> bytes:
    """Return the batch of a read that was called."""
    values = (
        read.read_id,
        200,
        None,
        len(read.signal),
        call.sequence,
        call.qstring,
        call.mean_q,
        call.moves,
        call.stride,
    )
    return _batch(values)


def refused(read_id: str, status: int, why: str) -> bytes:
    """Return the batch of a read that was not called."""
    return _batch((read_id, status, why, *[None] * 6))


def _batch(values: tuple[Any, ...]) -> bytes:
    columns = [pa.array([value], field.type) for value, field in zip(values, SCHEMA, strict=True)]
    return _bytes(pa.record_batch(columns, schema=SCHEMA).serialize())


def _bytes(buffer: Any) -> bytes:
    content: bytes = buffer.to_pybytes()
    return content
