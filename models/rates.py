"""Reads of the one sample rate that something takes."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from models.errors import SampleRateError
from reads.errors import ReadError
from reads.read import Read


def check_rate(sample_rate: float, taken: float, taker: str) -> None:
    """Raise SampleRateError unless `taker`, which takes reads of `taken` Hz, 0 for any, takes this rate."""
    if taken not in {0, sample_rate}:
        raise SampleRateError(f"sampled at {sample_rate:g} Hz, {taker} takes {taken:g} Hz")


def at_rate(
    reads: Iterable[Read], sample_rate: float, taker: str, on_problem: Callable[[ReadError], None]
) -> Iterator[Read]:
    """Yield the reads of that rate [Hz], 0 for any; each other one is a problem, and left out."""
    for read in reads:
        try:
            check_rate(read.sample_rate, sample_rate, taker)
        except SampleRateError as error:
            on_problem(ReadError(Path(read.origin.filename), read.read_id, str(error)))
        else:
            yield read
