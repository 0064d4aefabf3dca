"""Cutting and joining lose no sample and no base, whatever the length of the read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.caller import ChunkCall
from models.chunks import chunk_starts, cut, seam, stitch

STRIDE = 5
shapes = st.tuples(st.integers(2, 40), st.integers(0, 39)).filter(lambda shape: shape[1] < shape[0])


def truth_call(moves: np.ndarray, bases: np.ndarray) -> ChunkCall:
    return ChunkCall(moves, np.where(moves > 0, bases, 0).astype(np.uint8), moves.astype(np.float32) * 10)


@given(samples=st.integers(1, 2000), shape=shapes)
def test_chunks_cover_every_sample_and_overlap_as_asked(samples: int, shape: tuple[int, int]) -> None:
    size, overlap = shape[0] * STRIDE, shape[1] * STRIDE
    starts = chunk_starts(samples, size, overlap, STRIDE)
    assert starts[0] == 0
    assert (starts % STRIDE == 0).all()
    assert starts[-1] + size >= samples
    assert starts[-1] == 0 or starts[-1] + size < samples + STRIDE
    assert (np.diff(starts) <= size - overlap).all()
    assert (np.diff(starts) > 0).all()


def test_a_read_of_no_samples_has_no_chunks_and_an_empty_call() -> None:
    chunks = cut(np.zeros(0, np.float32), 100, 20, STRIDE)
    assert len(chunks) == 0
    assert stitch(chunks, [], STRIDE).sequence == ""


@given(samples=st.integers(1, 3000), shape=shapes, seed=st.integers(0, 2**32 - 1))
def test_joining_chunks_of_one_truth_gives_the_truth(samples: int, shape: tuple[int, int], seed: int) -> None:
    size, overlap = shape[0] * STRIDE, shape[1] * STRIDE
    rng = np.random.default_rng(seed)
    steps = -(-samples // STRIDE)
    moves = (rng.random(steps + shape[0]) < 0.5).astype(np.uint8)
    bases = rng.integers(0, 4, steps + shape[0]).astype(np.uint8)
    chunks = cut(rng.normal(size=samples).astype(np.float32), size, overlap, STRIDE)
    calls = [
        truth_call(moves[s // STRIDE : (s + size) // STRIDE], bases[s // STRIDE : (s + size) // STRIDE])
        for s in chunks.starts
    ]
    joined = stitch(chunks, calls, STRIDE)
    emitted = moves[:steps].astype(bool)
    assert joined.sequence == "".join("ACGT"[base] for base in bases[:steps][emitted])
    assert joined.moves.tolist() == moves[:steps].tolist()
    assert joined.qstring == "+" * int(emitted.sum())


def test_chunks_change_over_where_they_agree() -> None:
    moves = np.array([1, 0] * 30, np.uint8)
    left = truth_call(moves.copy(), np.zeros(60, np.uint8))
    right = truth_call(moves[20:].copy(), np.zeros(40, np.uint8))
    right.moves[15:25] = 0  # they disagree around the middle of their overlap
    at = seam(left, right, 20)
    assert (left.moves[20 + at - 4 : 20 + at + 4] == right.moves[at - 4 : at + 4]).all()
    assert 9 <= at <= 31


@pytest.mark.parametrize("common", [0, 3])
def test_an_overlap_too_short_to_agree_on_is_cut_in_the_middle(common: int) -> None:
    call = truth_call(np.ones(10, np.uint8), np.zeros(10, np.uint8))
    assert seam(call, call, 10 - common) == common // 2
