"""The losses in torch alone, a batch at once, wherever its scores are: CTC-CRF and CTC.

The CTC-CRF loss is that of `models.loss`, in log space: forward and backward through both lattices, step by
step, with every chunk, state and position of a step in one operation, so that nothing leaves the device.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Bounds = tuple[NDArray[np.int64], NDArray[np.int64]]
CTC_BLANK = 0
"""The label of no base in CTC's scores; bases follow it."""


def ctc_loss(log_probabilities: Tensor, sequences: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Return the mean loss of a batch [nats a base], a scalar that backpropagates.

    `log_probabilities` is [N, T, 5]: blank, A, C, G, T; sequences are codes [bases], at least one each.
    Chunks whose steps cannot hold their sequence count for nothing; nan where none can.
    """
    count, steps, _ = log_probabilities.shape
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    # Two like bases in a row need a blank between them.
    needed = [len(sequence) + int((np.diff(sequence) == 0).sum()) for sequence in sequences]
    held = torch.tensor([need <= steps for need in needed])
    losses = functional.ctc_loss(
        log_probabilities.transpose(0, 1),
        torch.from_numpy(np.concatenate(sequences).astype(np.int64) + 1).to(log_probabilities.device),
        torch.full((count,), steps),
        lengths,
        blank=CTC_BLANK,
        reduction="none",
        zero_infinity=True,
    )
    each = losses / lengths.to(losses)
    return each.sum() / held.sum() if held.any() else each.sum() * float("nan")


def crf_loss_on_device(
    scores: Tensor,
    blank: float,
    sequences: Sequence[NDArray[np.uint8]],
    bounds: Sequence[Bounds | None] | None = None,
) -> Tensor:
    """Return what `models.loss.crf_loss` returns, computed where `scores` [N, T, S, 4 or 5] are."""
    apply: Callable[..., Tensor] = _CrfLoss.apply
    return apply(scores, blank, sequences, bounds or [None] * len(sequences))


class _CrfLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        scores: Tensor,
        blank: float,
        sequences: Sequence[NDArray[np.uint8]],
        bounds: Sequence[Bounds | None],
    ) -> Tensor:
        count, steps, states, width = scores.shape
        entries = scores.detach().float()
        if width == 4:
            stay = entries.new_full((count, steps, states, 1), blank)
            entries = torch.cat([stay, entries], dim=3)
        flat = entries.reshape(count, steps, states * 5)
        log_z, gradient = _free(flat, states)
        truth = _Truth.of(sequences, bounds, steps, states, scores.device)
        log_sequence = _subtract_true(flat, truth, gradient)
        held = torch.isfinite(log_sequence)
        weights = torch.where(held, 1.0 / (truth.bases * held.sum().clamp(min=1)), 0.0)
        gradient *= weights[:, None, None]
        gradient = torch.where(held[:, None, None], gradient, 0.0)
        gradient = gradient.reshape(count, steps, states, 5)[..., 5 - width :]
        ctx.save_for_backward(gradient.to(scores.dtype))
        each = torch.where(held, log_z - log_sequence, 0.0) * weights
        return torch.where(held.any(), each.sum(), float("nan"))

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer[0], None, None, None


def _free(flat: Tensor, states: int) -> tuple[Tensor, Tensor]:
    """Return log Z [N] of all paths through scores [N, T, S * 5], and the posterior of each entry."""
    count, steps, _ = flat.shape
    state = torch.arange(states, device=flat.device)
    quarter = states // 4
    drops = torch.arange(4, device=flat.device)
    sources = torch.cat([state[:, None], state[:, None] // 4 + drops * quarter], dim=1)  # [S, 5]
    targets = torch.cat([state[:, None], state[:, None] % quarter * 4 + drops], dim=1)
    taken = torch.cat(
        [torch.zeros_like(state[:, None]), (1 + state // quarter)[:, None].expand(-1, 4)], dim=1
    )
    onwards = targets * 5 + taken
    alpha = flat.new_zeros(count, steps + 1, states)
    for t in range(steps):
        arriving = alpha[:, t][:, sources] + flat[:, t].reshape(count, states, 5)
        alpha[:, t + 1] = torch.logsumexp(arriving, dim=2)
    log_z = torch.logsumexp(alpha[:, steps], dim=1)
    posterior = torch.empty_like(flat)
    beta = flat.new_zeros(count, states)
    for t in range(steps - 1, -1, -1):
        passing = alpha[:, t][:, sources] + flat[:, t].reshape(count, states, 5) + beta[:, :, None]
        posterior[:, t] = torch.exp(passing - log_z[:, None, None]).reshape(count, -1)
        beta = torch.logsumexp(beta[:, targets] + flat[:, t][:, onwards], dim=2)
    return log_z, posterior


@dataclass(frozen=True, slots=True, eq=False)
class _Truth:
    """The true lattices of a batch: entries of scores for staying and for moving at each position [N, L],
    which position is the last [N], the number of bases [N], and where positions may be held [N, T, L]."""

    stays: Tensor
    moves: Tensor
    last: Tensor
    bases: Tensor
    allowed: Tensor

    @classmethod
    def of(
        cls,
        sequences: Sequence[NDArray[np.uint8]],
        bounds: Sequence[Bounds | None],
        steps: int,
        states: int,
        device: torch.device,
    ) -> "_Truth":
        k = round(np.log(states) / np.log(4))
        longest = max(len(sequence) - k + 1 for sequence in sequences)
        visited = np.zeros((len(sequences), longest), np.int64)
        entry = np.zeros((len(sequences), longest), np.int64)
        low = np.zeros((len(sequences), steps), np.int64)
        high = np.zeros((len(sequences), steps), np.int64)
        for row, (sequence, bound) in enumerate(zip(sequences, bounds, strict=True)):
            codes = sequence.astype(np.int64)
            n = len(codes) - k + 1
            for offset in range(k):
                visited[row, :n] = visited[row, :n] * 4 + codes[offset : offset + n]
            entry[row, 1:n] = 1 + codes[: n - 1]
            low[row], high[row] = bound or (0, n)

        def on_device(values: NDArray[np.int64]) -> Tensor:
            return torch.from_numpy(values).to(device)

        positions = torch.arange(longest, device=device)
        return cls(
            stays=on_device(visited * 5),
            moves=on_device(visited * 5 + entry),
            last=on_device(np.array([len(sequence) - k for sequence in sequences])),
            bases=on_device(np.array([len(sequence) for sequence in sequences])),
            allowed=(positions >= on_device(low)[:, :, None]) & (positions < on_device(high)[:, :, None]),
        )


def _subtract_true(flat: Tensor, truth: _Truth, gradient: Tensor) -> Tensor:
    """Subtract the posteriors of the true lattices from `gradient`, and return their log Z [N], -inf where
    the steps cannot hold them; the gradient of such a one is without meaning."""
    count, steps, _ = flat.shape
    longest = truth.stays.shape[1]
    forbidden = torch.where(truth.allowed, 0.0, float("-inf"))
    stay = flat.gather(2, truth.stays[:, None].expand(-1, steps, -1)) + forbidden
    move = flat.gather(2, truth.moves[:, None].expand(-1, steps, -1)) + forbidden
    move[:, :, 0] = float("-inf")
    nothing = flat.new_full((count, 1), float("-inf"))
    alpha = flat.new_full((count, steps + 1, longest), float("-inf"))
    alpha[:, 0, 0] = 0.0
    for t in range(steps):
        before = torch.cat([nothing, alpha[:, t, :-1]], dim=1)
        alpha[:, t + 1] = torch.logaddexp(alpha[:, t] + stay[:, t], before + move[:, t])
    log_z = alpha[:, steps].gather(1, truth.last[:, None])[:, 0]
    beta = flat.new_full((count, longest), float("-inf")).scatter(1, truth.last[:, None], 0.0)
    scale = torch.where(torch.isfinite(log_z), log_z, 0.0)[:, None]
    for t in range(steps - 1, -1, -1):
        staying, moving = stay[:, t] + beta, move[:, t] + beta
        before = torch.cat([nothing, alpha[:, t, :-1]], dim=1)
        gradient[:, t].scatter_add_(1, truth.stays, -torch.exp(alpha[:, t] + staying - scale))
        gradient[:, t].scatter_add_(1, truth.moves, -torch.exp(before + moving - scale))
        beta = torch.logaddexp(staying, torch.cat([moving[:, 1:], nothing], dim=1))
    return log_z
