"""Sequences as numbers: A, C, G, T are 0 to 3, and a k-mer is a number in base 4, its first base highest."""

import numpy as np
from numpy.typing import NDArray

BASES = "ACGT"
_CODES = np.full(256, 255, np.uint8)
for _code, _base in enumerate(BASES):
    _CODES[ord(_base)] = _CODES[ord(_base.lower())] = _code
_LETTERS = np.frombuffer(BASES.encode(), np.uint8)


def codes_of(sequence: str) -> NDArray[np.uint8]:
    """Return `sequence` as codes 0 to 3 [bases], 255 for every letter that is none of ACGT."""
    return _CODES[np.frombuffer(sequence.encode("ascii", errors="replace"), np.uint8)]


def encode(sequence: str) -> NDArray[np.uint8]:
    """Return `sequence` as codes 0 to 3 [bases]; ValueError names the first letter that is none of ACGT."""
    codes = codes_of(sequence)
    if (codes == 255).any():
        where = int(np.argmax(codes == 255))
        raise ValueError(f"base {where + 1} is {sequence[where]!r}, not one of A, C, G, T")
    return codes


def decode(codes: NDArray[np.uint8]) -> str:
    """Return codes 0 to 3 [bases] as a sequence."""
    return _LETTERS[codes].tobytes().decode()


def reverse_complement(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the other strand, read in its own direction."""
    return (3 - codes[::-1]).astype(np.uint8)


def kmers(codes: NDArray[np.uint8], k: int) -> NDArray[np.int64]:
    """Return the number of each k-mer of `codes`, int64 [bases - k + 1]."""
    count = len(codes) - k + 1
    numbers = np.zeros(max(count, 0), np.int64)
    for offset in range(k):
        numbers = numbers * 4 + codes[offset : offset + len(numbers)]
    return numbers
