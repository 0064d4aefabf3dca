"""The best path through a CTC-CRF lattice on `native.cpp`: that of `models.decode`, several times faster."""

import numpy as np
from numpy.typing import NDArray

from models.native.library import library

STATES_MULTIPLE = 64
"""The lattice must have a multiple of so many states: three bases, or more."""


def can_decode(states: int, width: int) -> bool:
    """Return whether this machine can decode so many states of so many scores."""
    return library() is not None and states % STATES_MULTIPLE == 0 and width == 4


def best_path(
    scores: NDArray[np.float32], blank: float, smallest: float
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.float32]]:
    """Return the moves, the states and the states' posteriors, all [T], of the best path through a chunk.

    Of its scores [T, S, 4], that is the path that maximises the product of its steps' posteriors, each
    raised by `smallest`.
    """
    loaded = library()
    if loaded is None:
        raise RuntimeError("the compiled half of models.native was not built, or not for this processor")
    contiguous = np.ascontiguousarray(scores, np.float32)
    steps, states, _ = contiguous.shape
    room = np.empty(loaded.native_best_path_room(steps, states), np.float32)
    moves, path = np.empty(steps, np.uint8), np.empty(steps, np.int64)
    sure = np.empty(steps, np.float32)
    loaded.native_best_path(
        *(contiguous.ctypes.data, steps, states, blank, smallest, room.ctypes.data),
        *(moves.ctypes.data, path.ctypes.data, sure.ctypes.data),
    )
    return moves, path, sure
