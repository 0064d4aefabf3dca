"""The CTC-CRF loss: how unlikely the network makes the true sequence, summed over all its alignments.

loss = (log Z - log Z(sequence)) / bases, with Z of `models.crf`. Gradients are exact: posteriors of the
free lattice minus those of the lattice that emits the sequence. One chunk a thread, on the CPU.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from models import crf


@njit(cache=True, nogil=True)
def _constrained(w, stay, states, drops, low, high, gradient):  # type: ignore[no-untyped-def] # noqa: PLR0912 - one kernel
    """Subtract from `gradient` [T, S, 4 or 5] the posteriors of the lattice that passes `states` [n] in
    order, and return the log of its partition function, -inf where T steps cannot hold it.

    Weights are `crf.forward`'s: w [T, S, 4 or 5] and stay [T]. `drops` [n] is the base each move drops.
    Position i may be held after step t only where low[t] <= i < high[t], and edges fall together.
    """
    steps, _, width = w.shape
    first = width - 4
    n = len(states)
    widest = 1
    for t in range(steps):
        widest = max(widest, high[t] - low[t])
    # Row t + 1 holds positions from low[t] on; before the first step only position 0 is held.
    alpha = np.zeros((steps + 1, widest))
    alpha[0, 0] = 1.0
    log_z = 0.0
    begin, end = 0, 1
    for t in range(steps):
        total = 0.0
        for i in range(low[t], high[t]):
            value = 0.0
            if begin <= i < end:
                value += alpha[t, i - begin] * (w[t, states[i], 0] if first == 1 else stay[t])
            if begin < i <= end:
                value += alpha[t, i - 1 - begin] * w[t, states[i], first + drops[i]]
            alpha[t + 1, i - low[t]] = value
            total += value
        if total <= 0.0:
            return -np.inf
        log_z += np.log(total)
        begin, end = low[t], high[t]
        for i in range(end - begin):
            alpha[t + 1, i] /= total
    if not begin <= n - 1 < end or alpha[steps, n - 1 - begin] <= 0.0:
        return -np.inf
    log_z += np.log(alpha[steps, n - 1 - begin])
    beta = np.zeros(n)
    before = np.zeros(n)
    beta[n - 1] = 1.0
    for t in range(steps - 1, -1, -1):
        begin, end = (low[t - 1], high[t - 1]) if t > 0 else (0, 1)
        # Every weight of this step times what may follow; alpha makes a posterior of it.
        total = 0.0
        for i in range(begin, end):
            before[i] = 0.0
        for i in range(low[t], high[t]):
            if begin <= i < end:
                before[i] += beta[i] * (w[t, states[i], 0] if first == 1 else stay[t])
            if begin < i <= end:
                before[i - 1] += beta[i] * w[t, states[i], first + drops[i]]
        highest = 0.0
        for i in range(begin, end):
            total += alpha[t, i - begin] * before[i]
            highest = max(highest, before[i])
        if total <= 0.0:
            return -np.inf
        for i in range(low[t], high[t]):
            share = beta[i] / total
            if first == 1 and begin <= i < end:
                gradient[t, states[i], 0] -= alpha[t, i - begin] * share * w[t, states[i], 0]
            if begin < i <= end:
                move = w[t, states[i], first + drops[i]]
                gradient[t, states[i], first + drops[i]] -= alpha[t, i - 1 - begin] * share * move
        for i in range(begin, end):
            beta[i] = before[i] / highest
    return log_z


def chunk_loss(
    scores: NDArray[np.float32],
    blank: float,
    sequence: NDArray[np.uint8],
    bounds: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> tuple[float, NDArray[np.float32] | None]:
    """Return one chunk's loss [nats a base] and its gradient, shaped as `scores` [T, S, 4 or 5].

    `sequence` holds codes [bases], more than k of them: the first k are the state the chunk begins in.
    `bounds` (low, high), int64 [T], keep position i of the lattice to low[t] <= i < high[t] after step t.
    A chunk whose scores cannot hold the sequence, or are not finite, has loss inf and no gradient.
    """
    if not np.isfinite(scores).all():
        return float("inf"), None
    steps, states, width = scores.shape
    k = round(np.log(states) / np.log(4))
    codes = sequence.astype(np.int64)
    n = len(codes) - k + 1
    visited = np.zeros(n, np.int64)
    for offset in range(k):
        visited = visited * 4 + codes[offset : offset + n]
    drops = np.concatenate([np.zeros(1, np.int64), codes[: n - 1]])
    low, high = bounds or _reachable(steps, n)
    # The highest score of each step, which weights leave out, is in both partition functions.
    w, stay = crf.weights(scores, blank)
    posterior, log_z = crf.transitions(w, stay)
    gradient = posterior[:, :, 5 - width :].copy()
    log_sequence = _constrained(w, stay, visited, drops, low, high, gradient)
    if not np.isfinite(log_sequence):
        return float("inf"), None
    return (log_z - log_sequence) / len(codes), gradient / np.float32(len(codes))


def _reachable(steps: int, positions: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which positions (low, high), int64 [steps], a path may hold after each step: no more have been
    passed than there were steps, and no more are left than there will be."""
    done = np.arange(1, steps + 1)
    low = np.maximum(positions - 1 - (steps - done), 0)
    return np.minimum(low, positions - 1), np.minimum(done + 1, positions)


class _CrfLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        scores: torch.Tensor,
        blank: float,
        sequences: Sequence[NDArray[np.uint8]],
        bounds: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]] | None],
        pool: ThreadPoolExecutor | None,
    ) -> torch.Tensor:
        values = scores.detach().float().cpu().numpy()
        run = pool.map if pool else map
        results = list(
            run(
                lambda i: chunk_loss(np.ascontiguousarray(values[i]), blank, sequences[i], bounds[i]),
                range(len(values)),
            )
        )
        kept = [loss for loss, gradient in results if gradient is not None]
        grads = np.stack([np.zeros_like(values[0]) if g is None else g for _, g in results])
        count = max(len(kept), 1)
        ctx.save_for_backward(torch.from_numpy(grads / np.float32(count)).to(scores))
        return torch.tensor(float(np.mean(kept)) if kept else float("nan"))

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        (grads,) = ctx.saved_tensors
        return grads * outer[0], None, None, None, None


def crf_loss(
    scores: torch.Tensor,
    blank: float,
    sequences: Sequence[NDArray[np.uint8]],
    bounds: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]] | None] | None = None,
    pool: ThreadPoolExecutor | None = None,
) -> torch.Tensor:
    """Return the mean loss of a batch, a scalar that backpropagates; `scores` is [N, T, S, 4 or 5].

    Chunks whose scores cannot hold their sequence count for nothing; nan where none can.
    """
    bounds = bounds or [None] * len(sequences)
    apply: Callable[..., torch.Tensor] = _CrfLoss.apply
    return apply(scores, blank, sequences, bounds, pool)
