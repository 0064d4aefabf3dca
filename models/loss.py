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
def _constrained(scores, blank, states, drops, low, high, gradient):  # type: ignore[no-untyped-def] # noqa: PLR0912 - one kernel
    """Subtract from `gradient` [T, S, 4 or 5] the posteriors of the lattice that passes `states` [n] in
    order, and return its log partition function, -inf where T steps cannot hold it.

    `drops` [n] is the base each move drops. Position i may be held after step t only where
    low[t] <= i < high[t].
    """
    steps, _, width = scores.shape
    first = width - 4
    n = len(states)
    alpha = np.zeros((steps + 1, n))
    alpha[0, 0] = 1.0
    log_z = 0.0
    stays = np.zeros((steps, n))
    moves = np.zeros((steps, n))
    for t in range(steps):
        highest = -np.inf
        for i in range(low[t], high[t]):
            stays[t, i] = scores[t, states[i], 0] if first == 1 else blank
            moves[t, i] = scores[t, states[i], first + drops[i]] if i > 0 else -np.inf
            highest = max(highest, stays[t, i], moves[t, i])
        total = 0.0
        for i in range(low[t], high[t]):
            stays[t, i] = np.exp(stays[t, i] - highest)
            moves[t, i] = np.exp(moves[t, i] - highest)
            value = alpha[t, i] * stays[t, i]
            if i > 0:
                value += alpha[t, i - 1] * moves[t, i]
            alpha[t + 1, i] = value
            total += value
        if total <= 0.0:
            return -np.inf
        log_z += np.log(total) + highest
        for i in range(low[t], high[t]):
            alpha[t + 1, i] /= total
    if alpha[steps, n - 1] <= 0.0:
        return -np.inf
    log_z += np.log(alpha[steps, n - 1])
    beta = np.zeros(n)
    before = np.zeros(n)
    beta[n - 1] = 1.0
    for t in range(steps - 1, -1, -1):
        before[:] = 0.0
        total = 0.0
        for i in range(low[t], high[t]):
            before[i] += beta[i] * stays[t, i]
            total += alpha[t, i] * beta[i] * stays[t, i]
            if i > 0:
                before[i - 1] += beta[i] * moves[t, i]
                total += alpha[t, i - 1] * beta[i] * moves[t, i]
        if total <= 0.0:
            return -np.inf
        highest = before.max()
        for i in range(low[t], high[t]):
            if first == 1:
                gradient[t, states[i], 0] -= alpha[t, i] * beta[i] * stays[t, i] / total
            if i > 0:
                gradient[t, states[i], first + drops[i]] -= alpha[t, i - 1] * beta[i] * moves[t, i] / total
        for i in range(n):
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
    low, high = bounds or (np.zeros(steps, np.int64), np.full(steps, n, np.int64))
    gradient = crf.posteriors(scores, blank)[:, :, 5 - width :].copy()
    log_z = crf.log_partition(scores, blank)
    log_sequence = _constrained(scores, blank, visited, drops, low, high, gradient)
    if not np.isfinite(log_sequence):
        return float("inf"), None
    return (log_z - log_sequence) / len(codes), gradient / np.float32(len(codes))


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
