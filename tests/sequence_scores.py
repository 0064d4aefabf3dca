"""How likely a lattice's scores make a sequence: the sum over all its paths, of one that moves on its own."""

import numpy as np


def with_stays(scores: np.ndarray, blank: float) -> np.ndarray:
    """Scores [T, S, 4 or 5] as [T, S, 5]."""
    if scores.shape[2] == 5:
        return scores
    return np.concatenate([np.full((*scores.shape[:2], 1), blank, np.float32), scores], axis=2)


def sequence_log_weight(scores: np.ndarray, blank: float, codes: np.ndarray) -> float:
    """Return log sum exp over every path, from any state, that emits `codes`."""
    full = with_stays(scores, blank).astype(np.float64)
    states = full.shape[1]
    visited, dropped = np.zeros((states, len(codes) + 1), int), np.zeros((states, len(codes)), int)
    visited[:, 0] = np.arange(states)
    for i, base in enumerate(codes):
        dropped[:, i], rest = np.divmod(visited[:, i], states // 4)
        visited[:, i + 1] = rest * 4 + base
    weights = np.full((states, len(codes) + 1), -np.inf)
    weights[:, 0] = 0.0
    for step in full:
        following = weights + step[visited, 0]
        moved = weights[:, :-1] + step[visited[:, 1:], 1 + dropped]
        following[:, 1:] = np.logaddexp(following[:, 1:], moved)
        weights = following
    return float(np.logaddexp.reduce(weights[:, -1]))


def random_scores(seed: int, steps: int, k: int, width: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (steps, 4**k, width)).astype(np.float32)


def lifelike_scores(seed: int, steps: int, k: int, confidence: float = 5.0) -> np.ndarray:
    """Scores [T, S, 4] as a trained network's: a hidden path of moves, about one in two steps, stands out."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 1, (steps, 4**k, 4)).astype(np.float32)
    state = int(rng.integers(4**k))
    for t in range(steps):
        if rng.random() < 0.45:
            dropped, rest = divmod(state, 4 ** (k - 1))
            state = rest * 4 + int(rng.integers(4))
            scores[t, state, dropped] += confidence
        else:
            scores[t] -= 0.2 * confidence
    return scores
