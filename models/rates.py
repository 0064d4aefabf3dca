"""Reads of the one sample rate that something takes."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from reads.errors import ReadError
from reads.read import Read


def at_rate(
    reads: Iterable[Read], sample_rate: float, taker: str, on_problem: Callable[[ReadError], None]
) -> Iterator[Read]:
    """Yield the reads of that rate [Hz], 0 for any; each other one is a problem, and left out."""
    for read in reads:
        if sample_rate in {0, read.sample_rate}:
            yield read
        else:
            why = f"sampled at {read.sample_rate:g} Hz, {taker} takes {sample_rate:g} Hz"
            on_problem(ReadError(Path(read.origin.filename), read.read_id, why))
