"""Reads as the request bodies that are sent: made once before the run, shared by every user after it.

Nothing here is done per request. Knows neither sockets nor schedules.
"""

import itertools
import logging
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args
from urllib.parse import urlencode

from reads.arrow_stream import reads_to_stream
from reads.files import open_reads
from reads.read import Read
from reads.simulate import simulate_reads
from reads.wire import ARROW_STREAM, OCTET_STREAM, signal_to_bytes

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 256 * 1024 * 1024
"""The most that is held in memory; reads beyond it are left out, and the log says so."""


BodyType = Literal["octet-stream", "arrow", "arrow-vbz"]
"""How a read is put into a request: its samples alone; or a stream of one row with these, or with VBZ."""
BODY_TYPES: tuple[BodyType, ...] = get_args(BodyType)


@dataclass(frozen=True, slots=True)
class ReadSource:
    """Which reads to send. Equal sources give equal bodies in equal order."""

    paths: tuple[str, ...] = ()
    """Files or folders of reads; simulated reads when empty."""
    simulated: int = 64
    """How many reads to simulate when there are no paths."""
    mean_bases: int = 8000
    """Mean length of the simulated reads, in bases."""
    chunk_samples: int = 0
    """Split reads into pieces of this many samples; 0 sends them whole."""
    seed: int = 1
    body: BodyType = "octet-stream"


@dataclass(frozen=True, slots=True)
class Body:
    """One request body: its `content`, and the `query` that goes with it."""

    read_id: str
    query: str
    """URL-encoded read_id, sample_rate, offset and scale, as far as the content does not say them; the model
    is the sender's to add."""
    content: bytes | memoryview
    samples: int
    media_type: str = OCTET_STREAM


def prepare_bodies(source: ReadSource) -> Iterator[Body]:
    """Yield the bodies of `source` in the order of its reads, up to MAX_BODY_BYTES.

    A generator, so that the caller can let others run between reads. Raises reads.errors.ReadsError, or
    ValueError where no read is left to send.
    """
    held_bytes = 0
    for body in split_reads(_open(source), source.chunk_samples, source.body):
        held_bytes += len(body.content)
        if held_bytes > MAX_BODY_BYTES:
            logger.warning("only the first %d MiB of reads are sent", MAX_BODY_BYTES // 2**20)
            return
        yield body
    if not held_bytes:
        raise ValueError(f"no reads to send in {', '.join(source.paths) or 'the simulation'}")


def split_reads(
    reads: Iterable[Read], chunk_samples: int, body_type: BodyType = "octet-stream"
) -> Iterator[Body]:
    """Yield a body for each piece of `chunk_samples` samples of each read, the last one shorter; 0 splits
    nothing. Reads without samples have no body."""
    for read in reads:
        step = chunk_samples or max(1, len(read.signal))
        for start in range(0, len(read.signal), step):
            read_id = f"{read.read_id}:{start}" if chunk_samples else read.read_id
            piece = replace(read, read_id=read_id, signal=read.signal[start : start + step])
            yield _BODIES[body_type](piece)


def _octet_stream(read: Read) -> Body:
    query = {
        "read_id": read.read_id,
        "sample_rate": read.sample_rate,
        "offset": read.calibration.offset,
        "scale": read.calibration.scale,
    }
    return Body(read.read_id, urlencode(query), signal_to_bytes(read.signal), len(read.signal))


def _arrow(read: Read, *, vbz: bool) -> Body:
    return Body(read.read_id, "", reads_to_stream([read], vbz=vbz), len(read.signal), ARROW_STREAM)


_BODIES: dict[BodyType, Callable[[Read], Body]] = {
    "octet-stream": _octet_stream,
    "arrow": partial(_arrow, vbz=False),
    "arrow-vbz": partial(_arrow, vbz=True),
}


def _open(source: ReadSource) -> Iterator[Read]:
    if source.paths:
        with open_reads(source.paths, on_problem=lambda why: logger.warning("left out: %s", why)) as reads:
            yield from reads
    else:
        endless = simulate_reads(seed=source.seed, mean_bases=source.mean_bases)
        yield from (simulated.read for simulated in itertools.islice(endless, source.simulated))


def shuffled(bodies: Iterable[Body], seed: int) -> tuple[Body, ...]:
    """Return `bodies` in a random order that `seed` alone decides: files are often sorted by length."""
    order = list(bodies)
    random.Random(seed).shuffle(order)
    return tuple(order)
