"""The CTC-CRF lattice: partition function, posteriors and best path of one chunk, on the CPU.

States are the last `k` bases, S = 4**k of them, numbered in base 4 with the newest base lowest. A step
either stays, or emits a base: the move into state s from state j * 4**(k - 1) + s // 4 drops base j and
emits base s % 4. Scores are [T, S, 4] (entry j is that move; staying scores a constant `blank`) or
[T, S, 5] (entry 0 is staying, 1 + j the move). Any state may begin and end. As in Bonito.

Recursions run in probabilities that are rescaled at each step, so that only the scores' exponentials
are transcendental.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SMALLEST = 1e-8
"""Added to posteriors before the logarithm: impossible steps stay finite."""


@njit(cache=True, nogil=True, fastmath=True)
def forward(w, stay, alpha, norms):  # type: ignore[no-untyped-def]
    """Fill alpha [T + 1, S] (each row sums to 1) and norms [T], from weights w [T, S, 4 or 5].

    `stay` [T] is the weight of staying where w is [T, S, 4]. The partition function is
    sum(log(norms)) + log(S) when every state begins with weight 1.
    """
    steps, states, width = w.shape
    quarter = states // 4
    first = width - 4
    for s in range(states):
        alpha[0, s] = 1.0 / states
    for t in range(steps):
        total = np.float32(0.0)
        for s in range(states):
            source = s // 4
            value = alpha[t, s] * (w[t, s, 0] if first == 1 else stay[t])
            value += alpha[t, source] * w[t, s, first]
            value += alpha[t, source + quarter] * w[t, s, first + 1]
            value += alpha[t, source + 2 * quarter] * w[t, s, first + 2]
            value += alpha[t, source + 3 * quarter] * w[t, s, first + 3]
            alpha[t + 1, s] = value
            total += value
        norms[t] = total
        scale = np.float32(1.0) / total
        for s in range(states):
            alpha[t + 1, s] *= scale


@njit(cache=True, nogil=True, fastmath=True)
def backward(w, stay, alpha, posterior):  # type: ignore[no-untyped-def]
    """Fill posterior [T, S, 5], each step summing to 1: entry 0 staying in s, 1 + j the move j into s."""
    steps, states, width = w.shape
    quarter = states // 4
    first = width - 4
    beta = np.full(states, np.float32(1.0), np.float32)
    before = np.zeros(states, np.float32)
    for t in range(steps - 1, -1, -1):
        for s in range(states):
            before[s] = 0.0
        total = np.float32(0.0)
        for s in range(states):
            source = s // 4
            b = beta[s]
            v = b * (w[t, s, 0] if first == 1 else stay[t])
            before[s] += v
            p = alpha[t, s] * v
            posterior[t, s, 0] = p
            total += p
            for j in range(4):
                v = b * w[t, s, first + j]
                before[source + j * quarter] += v
                p = alpha[t, source + j * quarter] * v
                posterior[t, s, 1 + j] = p
                total += p
        scale = np.float32(1.0) / total
        highest = np.float32(0.0)
        for s in range(states):
            for j in range(5):
                posterior[t, s, j] *= scale
            highest = max(highest, before[s])
        scale = np.float32(1.0) / highest
        for s in range(states):
            beta[s] = before[s] * scale


@njit(cache=True, nogil=True, fastmath=True)
def best_path(log_posterior, came, moves, path):  # type: ignore[no-untyped-def]
    """Fill moves [T] and path [T], the state after each step, of the path that maximises the sum of
    log_posterior [T, S, 5]; `came` uint8 [T, S] is room to work in."""
    steps, states, _ = log_posterior.shape
    quarter = states // 4
    score = np.zeros(states, np.float32)
    following = np.zeros(states, np.float32)
    for t in range(steps):
        for s in range(states):
            source = s // 4
            best = score[s] + log_posterior[t, s, 0]
            choice = np.uint8(0)
            for j in range(4):
                value = score[source + j * quarter] + log_posterior[t, s, 1 + j]
                if value > best:
                    best = value
                    choice = np.uint8(1 + j)
            following[s] = best
            came[t, s] = choice
        for s in range(states):
            score[s] = following[s]
    s = int(np.argmax(score))
    for t in range(steps - 1, -1, -1):
        path[t] = s
        choice = came[t, s]
        if choice > 0:
            moves[t] = 1
            s = s // 4 + (choice - 1) * quarter
        else:
            moves[t] = 0


def posteriors(scores: Floats, blank: float) -> Floats:
    """Return the posterior of each transition, float32 [T, S, 5], of one chunk's scores [T, S, 4 or 5]."""
    return transitions(*weights(scores, blank))[0]


def log_partition(scores: Floats, blank: float) -> float:
    """Return the log of the sum over all paths of exp(path score), for one chunk's scores."""
    _, log_z = transitions(*weights(scores, blank))
    return log_z + float(_highest(scores, blank).sum(dtype=np.float64))


def transitions(w: Floats, stay: Floats) -> tuple[Floats, float]:
    """Return, of one chunk's `weights`, the posterior of each transition, float32 [T, S, 5], and the log of
    the sum over all paths of the product of their weights."""
    steps, states, _ = w.shape
    alpha, norms = np.empty((steps + 1, states), np.float32), np.empty(steps, np.float32)
    posterior = np.empty((steps, states, 5), np.float32)
    forward(w, stay, alpha, norms)
    backward(w, stay, alpha, posterior)
    return posterior, float(np.log(norms.astype(np.float64)).sum() + np.log(states))


def _highest(scores: Floats, blank: float) -> Floats:
    highest: Floats = scores.max(axis=(1, 2))
    return highest if scores.shape[2] == 5 else np.maximum(highest, np.float32(blank))


def weights(scores: Floats, blank: float) -> tuple[Floats, Floats]:
    """Return the weights w, shaped as `scores`, and stay [T], of one chunk: exponentials of the scores, less
    the highest of each step."""
    highest = _highest(scores, blank)
    w: Floats = np.exp(scores - highest[:, None, None])
    stay: Floats = np.exp(np.float32(blank) - highest)
    return w, stay


@njit(cache=True, nogil=True, fastmath=True)
def backward_states(w, stay, alpha, posterior, guide):  # type: ignore[no-untyped-def]
    """Fill, for each moment [T + 1, S], the posterior of being in a state, each row summing to 1, and the log
    weight of all that may follow, `guide`, of which the highest of each row is 0."""
    steps, states, width = w.shape
    quarter = states // 4
    first = width - 4
    beta = np.full(states, np.float32(1.0), np.float32)
    before = np.zeros(states, np.float32)
    for t in range(steps, -1, -1):
        total = np.float32(0.0)
        for s in range(states):
            total += alpha[t, s] * beta[s]
        for s in range(states):
            posterior[t, s] = alpha[t, s] * beta[s] / total
            guide[t, s] = np.log(max(beta[s], np.float32(1e-30)))
        if t == 0:
            break
        for s in range(states):
            before[s] = 0.0
        for s in range(states):
            before[s] += beta[s] * (w[t - 1, s, 0] if first == 1 else stay[t - 1])
            for j in range(4):
                before[s // 4 + j * quarter] += beta[s] * w[t - 1, s, first + j]
        highest = before.max()
        for s in range(states):
            beta[s] = before[s] / highest


def state_posteriors(scores: Floats, blank: float) -> tuple[Floats, Floats]:
    """Return the posterior of each state at each moment, and the log weight of what may follow it less the
    highest, both float32 [T + 1, S], of one chunk's scores [T, S, 4 or 5]."""
    steps, states, _ = scores.shape
    w, stay = weights(scores, blank)
    alpha = np.empty((steps + 1, states), np.float32)
    forward(w, stay, alpha, np.empty(steps, np.float32))
    posterior, guide = np.empty_like(alpha), np.empty_like(alpha)
    backward_states(w, stay, alpha, posterior, guide)
    return posterior, guide
