"""Cutting a read into overlapping chunks of one size, and joining what was called on them. Pure."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.basecall import Basecall
from models.caller import ChunkCall, Chunks
from reads.kmers import decode as spell

AGREEMENT = 8
"""Steps on which two chunks must agree where one is left for the other."""


def chunk_starts(samples: int, chunk_samples: int, overlap: int, grid: int) -> NDArray[np.int64]:
    """Return where chunks begin, int64 [chunks]: multiples of `grid`, the last one reaching the end.

    `chunk_samples` and `overlap` are multiples of `grid`. A read of no samples has no chunks.
    """
    if samples <= 0:
        return np.zeros(0, np.int64)
    if samples <= chunk_samples:
        return np.zeros(1, np.int64)
    last = -(-(samples - chunk_samples) // grid) * grid
    starts = np.arange(0, last, chunk_samples - overlap, dtype=np.int64)
    return np.append(starts, last)


def cut(signal: NDArray[np.float32], chunk_samples: int, overlap: int, grid: int) -> Chunks:
    """Cut a normalised signal [samples]; what reaches past its end is zero."""
    starts = chunk_starts(len(signal), chunk_samples, overlap, grid)
    rows = np.zeros((len(starts), chunk_samples), np.float32)
    for row, start in zip(rows, starts, strict=True):
        piece = signal[start : start + chunk_samples]
        row[: len(piece)] = piece
    return Chunks(rows, starts, len(signal))


def stitch(chunks: Chunks, calls: Sequence[ChunkCall], stride: int, q_start: int = 0) -> Basecall:
    """Join the calls of all of a read's chunks.

    Of two neighbours, the first is left for the second at the step of their overlap, nearest its middle,
    around which they agree; steps past the read's end are dropped.
    """
    steps_total = -(-chunks.read_samples // stride)
    pieces: list[tuple[ChunkCall, int, int]] = []
    begin = 0
    for index, call in enumerate(calls):
        first = int(chunks.starts[index]) // stride
        if index + 1 < len(calls):
            following = int(chunks.starts[index + 1]) // stride
            end = following + seam(call, calls[index + 1], following - first)
        else:
            end = min(first + len(call.moves), steps_total)
        end = max(end, begin)
        pieces.append((call, begin - first, end - first))
        begin = end
    moves = np.concatenate([np.zeros(0, np.uint8), *(call.moves[a:b] for call, a, b in pieces)])
    emitted = moves.astype(bool)
    bases = np.concatenate([np.zeros(0, np.uint8), *(call.bases[a:b] for call, a, b in pieces)])[emitted]
    phred = np.concatenate([np.zeros(0, np.float32), *(call.phred[a:b] for call, a, b in pieces)])[emitted]
    qualities = (np.round(phred) + 33).astype(np.uint8)
    return Basecall(spell(bases), qualities.tobytes().decode(), moves, stride, chunks.read_samples, q_start)


def seam(left: ChunkCall, right: ChunkCall, offset: int) -> int:
    """Return the step of `right`, which begins `offset` steps into `left`, at which to change over."""
    common = min(len(left.moves) - offset, len(right.moves))
    same = (left.moves[offset : offset + common] == right.moves[:common]) & (
        left.bases[offset : offset + common] == right.bases[:common]
    )
    middle = common // 2
    if common < AGREEMENT:
        return middle
    runs = np.convolve(same, np.ones(AGREEMENT, np.int64), mode="valid") == AGREEMENT
    if not runs.any():
        return middle
    changeovers = np.flatnonzero(runs) + AGREEMENT // 2
    return int(changeovers[np.argmin(np.abs(changeovers - middle))])
