"""Scores to bases: the best path through the posteriors of one chunk, and how sure each base is."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models import crf
from models.caller import ChunkCall

SMALLEST = 1e-8
"""Added to posteriors before the logarithm: impossible steps stay finite."""
LEAST_ERROR = 1e-5
"""No base is surer than Q50."""


def decode_chunk(scores: NDArray[np.float32], blank: float, q_scale: float, q_bias: float) -> ChunkCall:
    """Decode one chunk's scores [T, S, 4 or 5] to the path that maximises the sum of log posteriors.

    A base's error is one minus the largest posterior of the path's state while the base is the newest;
    its quality, -10 log10(error) * q_scale + q_bias, is kept within 1 to 50.
    """
    steps, states, _ = scores.shape
    posterior = crf.posteriors(scores, blank)
    moves = np.empty(steps, np.uint8)
    path = np.empty(steps, np.int64)
    surest = np.empty(steps, np.float32)
    crf.best_path(np.log(posterior + np.float32(SMALLEST)), np.empty((steps, states), np.uint8), moves, path)
    _surest(posterior, moves, path, surest)
    phred = -10.0 * np.log10(np.maximum(1.0 - surest, LEAST_ERROR)) * q_scale + q_bias
    emitted = moves.astype(bool)
    return ChunkCall(
        moves=moves,
        bases=np.where(emitted, path % 4, 0).astype(np.uint8),
        phred=np.where(emitted, np.clip(phred, 1.0, 50.0), 0.0).astype(np.float32),
    )


@njit(cache=True, nogil=True)
def _surest(posterior, moves, path, surest):  # type: ignore[no-untyped-def]
    """Fill surest [T]: at each move, the largest posterior of the path's state until the next move."""
    steps = len(moves)
    best = np.float32(0.0)
    for t in range(steps - 1, -1, -1):
        held = np.float32(0.0)
        for j in range(5):
            held += posterior[t, path[t], j]
        best = max(best, held)
        surest[t] = best
        if moves[t]:
            best = np.float32(0.0)
