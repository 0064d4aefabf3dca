"""Reads as the request bodies that are sent: made once before the run, shared by every user after it.

Nothing here is done per request. Knows neither sockets nor schedules.
"""

import itertools
import logging
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

from reads.files import open_reads
from reads.read import Read
from reads.simulate import simulate_reads
from reads.wire import signal_to_bytes

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 256 * 1024 * 1024
"""The most signal held in memory by one process; reads beyond it are left out, and the log says so."""


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


@dataclass(frozen=True, slots=True)
class Body:
    """One request body: little-endian int16 `signal` bytes, and the `query` that goes with it."""

    read_id: str
    query: str
    """URL-encoded read_id, sample_rate, offset and scale; the model is the sender's to add."""
    signal: bytes
    samples: int


def prepare_bodies(source: ReadSource) -> Iterator[Body]:
    """Yield the bodies of `source` in the order of its reads, up to MAX_BODY_BYTES.

    A generator, so that the caller can let others run between reads. Raises reads.errors.ReadsError, or
    ValueError where no read is left to send.
    """
    held_bytes = 0
    for body in split_reads(_open(source), source.chunk_samples):
        held_bytes += len(body.signal)
        if held_bytes > MAX_BODY_BYTES:
            logger.warning("only the first %d MiB of signal are sent", MAX_BODY_BYTES // 2**20)
            return
        yield body
    if not held_bytes:
        raise ValueError(f"no reads to send in {', '.join(source.paths) or 'the simulation'}")


def split_reads(reads: Iterable[Read], chunk_samples: int) -> Iterator[Body]:
    """Yield a body for each piece of `chunk_samples` samples of each read, the last one shorter; 0 splits
    nothing. Reads without samples have no body."""
    for read in reads:
        step = chunk_samples or max(1, len(read.signal))
        for start in range(0, len(read.signal), step):
            piece = read.signal[start : start + step]
            read_id = f"{read.read_id}:{start}" if chunk_samples else read.read_id
            query = {
                "read_id": read_id,
                "sample_rate": read.sample_rate,
                "offset": read.calibration.offset,
                "scale": read.calibration.scale,
            }
            yield Body(read_id, urlencode(query), signal_to_bytes(piece), len(piece))


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
