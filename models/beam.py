"""Beam search of the CTC-CRF lattice, one chunk on the CPU: the likeliest sequence, not the likeliest path.

As Dorado's: paths are ranked by their weight and that of all that may follow (the backward guide), those
under 1/100 of the best are cut, and those of one sequence are summed, whichever way they came; the best of
them stays as the path. Qualities are Dorado's too.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models import crf

CUT = 100.0
"""How many times likelier than another the best sequence may be."""
POWER = 0.4
"""Of a state's probability, in a base's: fitted by Dorado's authors."""
SEED, FACTOR = 0x12345678, 0x5851F42D4C957F2D
"""Of the hash by which sequences are told apart: hash * FACTOR + base + 1, of 64 bits."""
_SLOTS = 8192
"""Of the table of candidates: at least five times the widest beam."""


@njit(cache=True, nogil=True)
def search(scores, blank, guide, width, cut, moves, path):  # type: ignore[no-untyped-def] # noqa: PLR0912, PLR0915 - one kernel
    """Fill moves [T] and path [T], the state after each step, and return the log weight of the sequence."""
    steps, states, entries = scores.shape
    quarter, first = states // 4, entries - 4
    room = 5 * width
    hashes, places = np.zeros(width, np.uint64), np.zeros(width, np.int64)
    weights = np.zeros(width, np.float64)
    new_hash, new_place = np.zeros(room, np.uint64), np.zeros(room, np.int64)
    new_weight, new_best = np.zeros(room, np.float64), np.zeros(room, np.float64)
    new_from, new_move = np.zeros(room, np.int16), np.zeros(room, np.uint8)
    came_from = np.zeros((steps, width), np.int16)
    came_by = np.zeros((steps, width), np.uint8)
    came_to = np.zeros((steps, width), np.int16)
    slots, stamps = np.zeros(_SLOTS, np.int64), np.full(_SLOTS, -1, np.int64)

    kept = 0
    for s in np.argsort(-guide[0], kind="mergesort")[:width]:
        hashes[kept], places[kept], weights[kept] = np.uint64(SEED), s, 0.0
        kept += 1
    for t in range(steps):
        count = 0
        for e in range(kept):
            for choice in range(5):
                if choice == 0:
                    h, place = hashes[e], places[e]
                    weight = weights[e] + (scores[t, place, 0] if first == 1 else blank)
                else:
                    h = hashes[e] * np.uint64(FACTOR) + np.uint64(choice)
                    place = (places[e] % quarter) * 4 + choice - 1
                    weight = weights[e] + scores[t, place, first + places[e] // quarter]
                slot = np.int64((h ^ (h >> np.uint64(29)) ^ np.uint64(place * 31)) % np.uint64(_SLOTS))
                while stamps[slot] == t and (new_hash[slots[slot]] != h or new_place[slots[slot]] != place):
                    slot = (slot + 1) % _SLOTS
                if stamps[slot] == t:
                    c = slots[slot]
                    high, low = max(new_weight[c], weight), min(new_weight[c], weight)
                    new_weight[c] = high + np.log1p(np.exp(low - high))
                    if weight > new_best[c]:
                        new_best[c], new_from[c], new_move[c] = weight, e, choice > 0
                else:
                    stamps[slot], slots[slot] = t, count
                    new_hash[count], new_place[count], new_weight[count] = h, place, weight
                    new_best[count], new_from[count], new_move[count] = weight, e, choice > 0
                    count += 1
        ranks = np.empty(count, np.float64)
        for c in range(count):
            ranks[c] = new_weight[c] + guide[t + 1, new_place[c]]
        least = ranks.max() - np.log(cut)
        if count > width:
            least = max(least, np.sort(ranks)[count - width])
        kept = 0
        for c in range(count):
            if ranks[c] >= least and kept < width:
                hashes[kept], places[kept], weights[kept] = new_hash[c], new_place[c], new_weight[c]
                came_from[t, kept], came_by[t, kept] = new_from[c], new_move[c]
                came_to[t, kept] = new_place[c]
                kept += 1
    best = int(np.argmax(weights[:kept]))
    final = weights[best]
    for t in range(steps - 1, -1, -1):
        path[t], moves[t] = came_to[t, best], came_by[t, best]
        best = int(came_from[t, best])
    return final


@njit(cache=True, nogil=True)
def correctness(posterior, moves, path, sure):  # type: ignore[no-untyped-def]
    """Fill sure [T]: at each move, how probable its base is.

    It is the mean, over the steps until the next move, of the probability, to the power POWER, of the path's
    state and of those that are one base before or after it.
    """
    states = posterior.shape[1]
    quarter = states // 4
    near = np.zeros(9, np.int64)
    total, steps = 0.0, 0
    for t in range(len(moves) - 1, -1, -1):
        s = path[t]
        near[0] = s
        for b in range(4):
            near[1 + b] = s // 4 + b * quarter
            near[5 + b] = (s % quarter) * 4 + b
        probability = 0.0
        for i in range(9):
            seen = False
            for other in range(i):
                seen = seen or near[other] == near[i]
            if not seen:
                probability += posterior[t + 1, near[i]]
        total += min(probability, 1.0) ** POWER
        steps += 1
        sure[t] = 0.0
        if moves[t]:
            sure[t] = total / steps
            total, steps = 0.0, 0


def best_sequence(
    scores: NDArray[np.float32], blank: float, width: int, cut: float = CUT
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.float32], float]:
    """Return moves uint8 [T], the states they lead to [T], how sure each move's base is, and the log weight
    that the search gave the sequence, of one chunk's scores [T, S, 4 or 5]."""
    posterior, guide = crf.state_posteriors(scores, blank)
    steps = len(scores)
    moves, path = np.zeros(steps, np.uint8), np.zeros(steps, np.int64)
    weight = search(scores, np.float32(blank), guide, width, cut, moves, path)
    sure = np.zeros(steps, np.float32)
    correctness(posterior, moves, path, sure)
    return moves, path, sure, float(weight)
