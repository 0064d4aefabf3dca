"""Decoding a batch as tensors, where its scores are: on a GPU nothing but the bases leaves it.

The lattice of `models.crf`, its best path and the beam search of `models.beam`, for all chunks at once: some
operations a step, each over the batch; and the best labels of CTC. Scores are [N, T, S, 4 or 5], of CTC [N,
T, 5], in any float type; sums are float32's. What is told of a step is [N, T]. No shape depends on what is in
a tensor and nothing asks for a value, so that a device can be asked for everything ahead of time.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from models.beam import CUT, FACTOR, POWER, SEED
from models.crf import SMALLEST

FAR = -1e30
"""The log weight of what cannot be."""


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """What a batch's steps say, [N, T] each: whether a base is emitted, its state and how sure it is."""

    moves: Tensor
    path: Tensor
    sure: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """Forward and backward log weights of a batch, [T + 1, N, S] each, the highest of each row 0."""

    scores: Tensor
    blank: float
    alpha: Tensor
    beta: Tensor

    @property
    def posterior(self) -> Tensor:
        """The posterior of each state at each moment, [T + 1, N, S]."""
        return torch.softmax(self.alpha + self.beta, dim=-1)


def lattice(scores: Tensor, blank: float) -> Lattice:
    """Run both recursions."""
    batch, steps, states, _ = scores.shape
    alpha = scores.new_zeros(steps + 1, batch, states, dtype=torch.float32)
    beta = torch.zeros_like(alpha)
    for t in range(steps):
        stays, moves = _entries(scores[:, t], blank)
        # Moves into s come from the states j * S/4 + s // 4.
        sources = alpha[t].view(batch, 4, states // 4).transpose(1, 2)[:, :, None]
        moved = (sources + moves.view(batch, states // 4, 4, 4)).view(batch, states, 4)
        into = torch.cat([(alpha[t] + stays)[..., None], moved], dim=-1).logsumexp(-1)
        alpha[t + 1] = into - into.amax(-1, keepdim=True)
    for t in range(steps - 1, -1, -1):
        onwards = _onwards(scores[:, t], blank, beta[t + 1]).logsumexp(-1)
        beta[t] = onwards - onwards.amax(-1, keepdim=True)
    return Lattice(scores, blank, alpha, beta)


def best_path(scores: Tensor, blank: float) -> Steps:
    """Return the paths that maximise the sum of log posteriors; a base is as sure as the surest of the
    posteriors of its states until the next."""
    weights = lattice(scores, blank)
    batch, steps, states, _ = scores.shape
    pointers = torch.empty(steps, batch, states, dtype=torch.uint8, device=scores.device)
    after = weights.alpha.new_zeros(batch, states)
    for t in range(steps - 1, -1, -1):
        onwards = _onwards(scores[:, t], blank, weights.beta[t + 1]) + weights.alpha[t][..., None]
        posterior = torch.softmax(onwards.view(batch, -1), dim=-1).view(batch, states, 5)
        reached = (posterior + SMALLEST).log() + _reached(after)
        after, choice = reached.max(-1)
        pointers[t] = choice.to(torch.uint8)
    state = after.argmax(-1)
    moves = torch.empty(steps, batch, dtype=torch.bool, device=scores.device)
    path = torch.empty(steps, batch, dtype=torch.int64, device=scores.device)
    for t in range(steps):
        choice = pointers[t].gather(1, state[:, None]).squeeze(1).long()
        state = torch.where(choice > 0, state % (states // 4) * 4 + choice - 1, state)
        moves[t], path[t] = choice > 0, state
    held = weights.posterior[1:].gather(2, path[..., None]).squeeze(-1)
    emitted = moves.T.contiguous()
    return Steps(emitted, path.T, over_bases(emitted, held.T.contiguous(), "amax"))


def best_sequence(weights: Lattice, width: int, cut: float = CUT) -> Steps:
    """Return the path of the sequence that a beam search of `width` finds likeliest."""
    moves, path = _search(weights, width, cut)
    sure = over_bases(moves, _correctness(weights.posterior, path), "mean")
    return Steps(moves, path, sure)


def best_labels(logs: Tensor) -> Steps:
    """Return the best path through CTC's log probabilities [N, T, 5]: a base where the best label is one, and
    not the step's before. A state is a base's code; one is as sure as `models.ctc.probabilities` says."""
    highest, labels = logs.float().max(-1)
    before = torch.cat([torch.zeros_like(labels[:, :1]), labels[:, :-1]], dim=1)
    moves = (labels != 0) & (labels != before)
    # Between a base and the next, only it and blanks lead.
    leads = (labels != 0).float()
    sums, counts = (over_bases(moves, values, "sum") for values in (highest.exp() * leads, leads))
    return Steps(moves, (labels - 1).masked_fill(~moves, 0), sums / counts.clamp(min=1.0))


def _entries(scores: Tensor, blank: float) -> tuple[Tensor, Tensor]:
    """Return one step's scores of staying, [N, S], and of the moves into each state, [N, S, 4]."""
    scores = scores.float()
    if scores.shape[-1] == 5:
        return scores[..., 0], scores[..., 1:]
    return scores.new_full(scores.shape[:-1], blank), scores


def _onwards(scores: Tensor, blank: float, beta: Tensor) -> Tensor:
    """Return, for one step, the log weight of each way on from each state, [N, S, 5]: staying, or a base."""
    batch, states = beta.shape
    stays, moves = _entries(scores, blank)
    into = (moves + beta[..., None]).view(batch, states // 4, 4, 4)
    emitted = into.permute(0, 3, 1, 2).reshape(batch, states, 4)
    return torch.cat([(stays + beta)[..., None], emitted], dim=-1)


def _reached(values: Tensor) -> Tensor:
    """Return the values [N, S] of the states that each way on leads to, [N, S, 5]."""
    batch, states = values.shape
    emitted = values.view(batch, 1, states // 4, 4).expand(batch, 4, states // 4, 4)
    return torch.cat([values[..., None], emitted.reshape(batch, states, 4)], dim=-1)


def _search(weights: Lattice, width: int, cut: float) -> tuple[Tensor, Tensor]:
    scores, guide = weights.scores, weights.beta
    batch, steps, states, _ = scores.shape
    device = scores.device
    quarter = states // 4
    places = guide[0].argsort(dim=-1, descending=True, stable=True)[:, :width]
    hashes = torch.full_like(places, SEED)
    totals = torch.zeros_like(places, dtype=torch.float32)
    bases = torch.arange(1, 5, device=device)
    came_from = torch.empty(steps, batch, width, dtype=torch.int16, device=device)
    came_by = torch.empty(steps, batch, width, dtype=torch.bool, device=device)
    came_to = torch.empty(steps, batch, width, dtype=torch.int16, device=device)
    for t in range(steps):
        stays, moves = _entries(scores[:, t], weights.blank)
        stayed = totals + stays.gather(1, places)
        onto = (places % quarter * 4)[..., None] + bases - 1
        entry = onto * 4 + (places // quarter)[..., None]
        moved = totals[..., None] + moves.reshape(batch, -1).gather(1, entry.flatten(1)).view_as(entry)
        longer = hashes[..., None] * FACTOR + bases
        each = torch.cat([stayed[..., None], moved], dim=-1).flatten(1)
        to = torch.cat([places[..., None], onto], dim=-1).flatten(1)
        new_hashes = torch.cat([hashes[..., None], longer], dim=-1).flatten(1)
        # Candidates of one sequence and state become one: the best of them, with the weight of all.
        same = (new_hashes[:, :, None] == new_hashes[:, None, :]) & (to[:, :, None] == to[:, None, :])
        alike = each[:, None, :].masked_fill(~same, FAR)
        summed = alike.logsumexp(-1)
        first = alike.argmax(-1) == torch.arange(each.shape[1], device=device)
        alive = first & (each > FAR / 2)
        ranks = (summed + guide[t + 1].gather(1, to)).masked_fill(~alive, FAR)
        ranks, chosen = ranks.topk(min(width, ranks.shape[1]), dim=-1)
        alive = ranks >= ranks[:, :1] - math.log(cut)
        places, hashes = to.gather(1, chosen), new_hashes.gather(1, chosen)
        totals = summed.gather(1, chosen).masked_fill(~alive, FAR)
        # What was cut must not be taken for what was kept.
        hashes = torch.where(alive, hashes, -1 - torch.arange(chosen.shape[1], device=device))
        count = chosen.shape[1]
        came_from[t, :, :count], came_by[t, :, :count] = (chosen // 5).to(torch.int16), chosen % 5 > 0
        came_to[t, :, :count] = places.to(torch.int16)
        totals = totals - totals.amax(-1, keepdim=True)
    best = totals.argmax(-1, keepdim=True)
    emitted, path = [], []
    for t in range(steps - 1, -1, -1):
        emitted.append(came_by[t].gather(1, best))
        path.append(came_to[t].gather(1, best))
        best = came_from[t].gather(1, best).long()
    return torch.cat(emitted[::-1], dim=1), torch.cat(path[::-1], dim=1).long()


def _correctness(posterior: Tensor, path: Tensor) -> Tensor:
    """Return each step's probability that its base is right, [N, T]: see `models.beam.correctness`."""
    states = posterior.shape[-1]
    quarter = states // 4
    bases = torch.arange(4, device=path.device)
    before = (path // 4)[..., None] + bases * quarter
    after = (path % quarter * 4)[..., None] + bases
    near, order = torch.cat([path[..., None], before, after], dim=-1).sort(dim=-1)
    del order
    repeated = torch.cat(
        [torch.zeros_like(near[..., :1], dtype=torch.bool), near[..., 1:] == near[..., :-1]], -1
    )
    found = posterior[1:].transpose(0, 1).gather(2, near).masked_fill(repeated, 0.0)
    return found.sum(-1).clamp(max=1.0) ** POWER


def over_bases(moves: Tensor, values: Tensor, how: str) -> Tensor:
    """Return, at each move [N, T], the `how` of values [N, T] from it until the next; 0 elsewhere."""
    batch, steps = moves.shape
    number = moves.long().cumsum(dim=1)
    gathered = values.new_zeros(batch, steps + 1)
    gathered = gathered.scatter_reduce(1, number, values, reduce=how, include_self=False)
    return gathered.gather(1, number).masked_fill(~moves, 0.0)
