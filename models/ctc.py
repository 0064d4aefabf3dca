"""Decoding of CTC: log probabilities [T, 5] of blank, A, C, G and T to the bases of one chunk.

Greedy takes the best label of each step; the prefix beam search sums the paths of a sequence. Either way a
base's probability is its mean over the steps in which it leads while it is the newest.
Source: Graves et al. 2006, section 3.2.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]

NOTHING = -1e30
"""The log of no probability."""


@njit(cache=True, nogil=True)
def greedy(logs, moves, bases):  # type: ignore[no-untyped-def]
    """Fill moves [T] and bases [T]: a base where the best label is one, and not the step's before."""
    before = 0
    for t in range(len(logs)):
        label = int(np.argmax(logs[t]))
        moves[t] = label not in (0, before)
        bases[t] = label - 1 if moves[t] else 0
        before = label


@njit(cache=True, nogil=True)
def _sum(a, b):  # type: ignore[no-untyped-def]
    high = max(a, b)
    return high if high <= NOTHING else high + np.log(np.exp(a - high) + np.exp(b - high))


@njit(cache=True, nogil=True)
def prefix_search(logs, width, codes):  # type: ignore[no-untyped-def] # noqa: PLR0912, PLR0915 - one kernel
    """Fill codes [T] with the labels 1..4 of the likeliest sequence found, and return how many and its log
    probability."""
    steps = len(logs)
    nodes = steps * width * 4 + 1
    parent, label = np.zeros(nodes, np.int64), np.zeros(nodes, np.int8)
    child = np.zeros((nodes, 4), np.int64)
    place = np.full(nodes, -1, np.int64)
    made = 1
    room = 5 * width
    beam, blank, ended = np.zeros(room, np.int64), np.full(room, NOTHING), np.full(room, NOTHING)
    new, new_blank, new_ended = np.zeros(room, np.int64), np.full(room, NOTHING), np.full(room, NOTHING)
    kept = 1
    blank[0] = 0.0
    for t in range(steps):
        count = 0
        for e in range(kept):
            node = beam[e]
            both = _sum(blank[e], ended[e])
            for choice in range(6):
                # 0: a blank; 1..4: a further base; 5: the last base goes on.
                if choice == 5 and node == 0:
                    continue
                into = node
                if 1 <= choice <= 4:
                    if child[node, choice - 1] == 0:
                        child[node, choice - 1] = made
                        parent[made], label[made] = node, choice
                        made += 1
                    into = child[node, choice - 1]
                if place[into] < 0:
                    place[into] = count
                    new[count], new_blank[count], new_ended[count] = into, NOTHING, NOTHING
                    count += 1
                c = place[into]
                if choice == 0:
                    new_blank[c] = _sum(new_blank[c], both + logs[t, 0])
                elif choice == 5:
                    new_ended[c] = _sum(new_ended[c], ended[e] + logs[t, label[node]])
                else:
                    # The same base again is another base only after a blank.
                    reached = blank[e] if choice == label[node] else both
                    new_ended[c] = _sum(new_ended[c], reached + logs[t, choice])
        ranks = np.empty(count, np.float64)
        for c in range(count):
            place[new[c]] = -1
            ranks[c] = _sum(new_blank[c], new_ended[c])
        least = np.sort(ranks)[count - width] if count > width else -np.inf
        kept = 0
        for c in range(count):
            if ranks[c] >= least and kept < width:
                beam[kept], blank[kept], ended[kept] = new[c], new_blank[c], new_ended[c]
                kept += 1
    best, highest = 0, -np.inf
    for e in range(kept):
        if _sum(blank[e], ended[e]) > highest:
            best, highest = e, _sum(blank[e], ended[e])
    length, node = 0, beam[best]
    while node > 0:
        codes[length] = label[node]
        length += 1
        node = parent[node]
    codes[:length] = codes[:length][::-1].copy()
    return length, highest


@njit(cache=True, nogil=True)
def align(logs, codes, moves, bases):  # type: ignore[no-untyped-def]
    """Fill moves [T] and bases [T] with the best path that spells `codes`, labels 1..4."""
    steps, places = len(logs), 2 * len(codes) + 1
    score = np.full(places, NOTHING)
    came = np.zeros((steps, places), np.uint8)
    score[0] = 0.0
    for t in range(steps):
        for i in range(min(places, 2 * t + 2) - 1, -1, -1):
            code = 0 if i % 2 == 0 else codes[i // 2]
            best, back = score[i] if t > 0 or i == 0 else NOTHING, 0
            if i >= 1 and score[i - 1] > best:
                best, back = score[i - 1], 1
            if i >= 3 and code != 0 and code != codes[i // 2 - 1] and score[i - 2] > best:
                best, back = score[i - 2], 2
            score[i] = best + logs[t, code]
            came[t, i] = back
    i = places - 1
    if places > 1 and score[places - 2] > score[places - 1]:
        i = places - 2
    for t in range(steps - 1, -1, -1):
        back = came[t, i]
        moves[t] = back > 0 and i % 2 == 1
        bases[t] = codes[i // 2] - 1 if moves[t] else 0
        i -= back


@njit(cache=True, nogil=True)
def probabilities(logs, moves, bases, sure):  # type: ignore[no-untyped-def]
    """Fill sure [T]: at each move, its base's mean probability over the steps until the next move that it
    leads; over the move alone where it leads none."""
    steps = len(logs)
    for t in range(steps):
        sure[t] = 0.0
        if not moves[t]:
            continue
        code = bases[t] + 1
        total, count = 0.0, 0
        u = t
        while u < steps and (u == t or not moves[u]):
            if np.argmax(logs[u]) == code:
                total += np.exp(logs[u, code])
                count += 1
            u += 1
        sure[t] = total / count if count else np.exp(logs[t, code])


def best_sequence(logs: Floats, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Floats]:
    """Return moves uint8 [T], their bases 0..3 [T] and how probable each is [T]; greedy where width is 0."""
    steps = len(logs)
    moves, bases = np.zeros(steps, np.uint8), np.zeros(steps, np.uint8)
    if width == 0:
        greedy(logs, moves, bases)
    else:
        codes = np.zeros(steps, np.int64)
        length, _ = prefix_search(logs, width, codes)
        align(logs, codes[:length], moves, bases)
    sure = np.zeros(steps, np.float32)
    probabilities(logs, moves, bases, sure)
    return moves, bases, sure
