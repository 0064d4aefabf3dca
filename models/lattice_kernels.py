"""The recursions of `models.batch_decode` as Triton kernels: one launch for all steps, not dozens a step.

A program is one chunk, its states in registers, [S / 4, 4]: state r * 4 + b at (r, b). Moves into it come
from the states j * S / 4 + r, which are the same numbers as [4, S / 4]. Knows no fallback: it is
`models.device` that looks whether the results are those of `models.batch_decode`. Needs triton, which comes
with torch for CUDA.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

import torch
import triton
import triton.language as tl
from torch import Tensor

from models.batch_decode import Lattice, Steps, over_bases
from models.crf import SMALLEST

LEAST_STATES = 16
"""Of a lattice with fewer, a program would have less than a warp to do."""


@triton.jit
def _moves_of(scores, state, width: tl.constexpr):
    """Return the scores [S / 4, 4, 4] of the moves into each state."""
    entry = state[:, :, None] * width + (width - 4) + tl.arange(0, 4)[None, None, :]
    return tl.load(scores + entry).to(tl.float32)


@triton.jit
def _stays_of(scores, state, blank, width: tl.constexpr):
    """Return the scores [S / 4, 4] of staying in each state."""
    if width == 5:
        stays = tl.load(scores + state * width).to(tl.float32)
    else:
        stays = tl.zeros_like(state).to(tl.float32) + blank
    return stays


@triton.jit
def _as_sources(values, quarter: tl.constexpr):
    """Return, of values of states, those from which states (r, .) are reached by dropping j, at [r, j]."""
    return tl.trans(tl.reshape(values, (4, quarter)))


@triton.jit
def _as_states(values, quarter: tl.constexpr):
    """Undo `_as_sources`."""
    return tl.reshape(tl.trans(values), (quarter, 4))


@triton.jit
def _highest(values):
    return tl.max(tl.max(values, axis=1), axis=0)


@triton.jit
def _forward(scores, alpha, steps, blank, quarter: tl.constexpr, width: tl.constexpr):
    """Fill alpha [T + 1, N, S]."""
    chunk, batch = tl.program_id(0).to(tl.int64), tl.num_programs(0)
    states: tl.constexpr = 4 * quarter
    state = tl.arange(0, quarter)[:, None] * 4 + tl.arange(0, 4)[None, :]
    scores += chunk * steps * states * width
    alpha += chunk * states
    value = tl.zeros((quarter, 4), tl.float32)
    tl.store(alpha + state, value)
    moves, stays = _moves_of(scores, state, width), _stays_of(scores, state, blank, width)
    for t in range(steps):
        # Asked for a step ahead: it is what a step would wait for longest.
        scores += tl.where(t + 1 < steps, states * width, 0)
        next_moves, next_stays = _moves_of(scores, state, width), _stays_of(scores, state, blank, width)
        held = value + stays
        into = _as_sources(value, quarter)[:, None, :] + moves
        top = tl.maximum(held, tl.max(into, axis=2))
        total = tl.exp(held - top) + tl.sum(tl.exp(into - top[:, :, None]), axis=2)
        value = top + tl.log(total)
        value -= _highest(value)
        alpha += batch * states
        tl.store(alpha + state, value)
        moves, stays = next_moves, next_stays


@triton.jit
def _onwards(beta, moves, stays, quarter: tl.constexpr):
    """Return the log weight of all that may follow each state, the highest 0, a step before `beta`."""
    onto = moves + beta[:, :, None]
    top = tl.max(onto, axis=1)
    moved = top + tl.log(tl.sum(tl.exp(onto - top[:, None, :]), axis=1))
    moved = _as_states(moved, quarter)
    held = beta + stays
    high = tl.maximum(held, moved)
    value = high + tl.log(tl.exp(held - high) + tl.exp(moved - high))
    return value - _highest(value)


@triton.jit
def _backward(scores, beta, steps, blank, quarter: tl.constexpr, width: tl.constexpr):
    """Fill beta [T + 1, N, S]."""
    chunk, batch = tl.program_id(0).to(tl.int64), tl.num_programs(0)
    states: tl.constexpr = 4 * quarter
    state = tl.arange(0, quarter)[:, None] * 4 + tl.arange(0, 4)[None, :]
    scores += (chunk * steps + steps - 1) * states * width
    beta += (batch * tl.cast(steps, tl.int64) + chunk) * states
    value = tl.zeros((quarter, 4), tl.float32)
    tl.store(beta + state, value)
    moves, stays = _moves_of(scores, state, width), _stays_of(scores, state, blank, width)
    for t in range(steps):
        scores -= tl.where(t + 1 < steps, states * width, 0)
        next_moves, next_stays = _moves_of(scores, state, width), _stays_of(scores, state, blank, width)
        value = _onwards(value, moves, stays, quarter)
        beta -= batch * states
        tl.store(beta + state, value)
        moves, stays = next_moves, next_stays


@triton.jit
def _backward_path(
    scores, alpha, posterior, came, begin, steps, blank, smallest, quarter: tl.constexpr, width: tl.constexpr
):
    """Fill the posterior of each state after each step [T, N, S]; how the best path goes on from each state
    at each step [T, N, S], 0 staying or 1 + the base; and the state in which it begins [N]."""
    chunk, batch = tl.program_id(0).to(tl.int64), tl.num_programs(0)
    states: tl.constexpr = 4 * quarter
    row = tl.arange(0, quarter)[:, None]
    column = tl.arange(0, 4)[None, :]
    state = row * 4 + column
    source = column * quarter + row
    scores += (chunk * steps + steps - 1) * states * width
    last = (batch * tl.cast(steps - 1, tl.int64) + chunk) * states
    alpha += last
    posterior += last
    came += last
    beta = tl.zeros((quarter, 4), tl.float32)
    best = tl.zeros((quarter, 4), tl.float32)
    moves, stays = _moves_of(scores, state, width), _stays_of(scores, state, blank, width)
    for t in range(steps):
        scores -= tl.where(t + 1 < steps, states * width, 0)
        next_moves, next_stays = _moves_of(scores, state, width), _stays_of(scores, state, blank, width)
        # Where it is after the step.
        together = tl.load(alpha + batch * states + state) + beta
        weight = tl.exp(together - _highest(together))
        tl.store(posterior + state, weight / tl.sum(tl.sum(weight, axis=1), axis=0))
        # By which of the ways on it came there.
        moved = moves + beta[:, :, None] + tl.load(alpha + source)[:, None, :]
        held = stays + beta + tl.load(alpha + state)
        top = tl.maximum(_highest(tl.max(moved, axis=2)), _highest(held))
        moved, held = tl.exp(moved - top), tl.exp(held - top)
        total = tl.sum(tl.sum(tl.sum(moved, axis=2), axis=1), axis=0) + tl.sum(tl.sum(held, axis=1), axis=0)
        moved = tl.log(moved / total + smallest) + best[:, :, None]
        held = tl.log(held / total + smallest) + best
        by_move = _as_states(tl.max(moved, axis=1), quarter)
        base = _as_states(tl.argmax(moved, axis=1), quarter)
        tl.store(came + state, tl.where(by_move > held, base + 1, 0).to(tl.uint8))
        best = tl.maximum(held, by_move)
        beta = _onwards(beta, moves, stays, quarter)
        moves, stays = next_moves, next_stays
        alpha -= batch * states
        posterior -= batch * states
        came -= batch * states
    tl.store(begin + chunk, tl.argmax(tl.reshape(best, (states,)), axis=0).to(tl.int64))


@triton.jit
def _trace(came, posterior, begin, moves, path, held, steps, states: tl.constexpr):
    """Fill what is told of each step of the best path, [N, T] each."""
    chunk, batch = tl.program_id(0).to(tl.int64), tl.num_programs(0)
    state = tl.load(begin + chunk)
    came += chunk * states
    posterior += chunk * states
    moves += chunk * steps
    path += chunk * steps
    held += chunk * steps
    for t in range(steps):
        choice = tl.load(came + state).to(tl.int64)
        state = tl.where(choice > 0, state % (states // 4) * 4 + choice - 1, state)
        tl.store(moves + t, choice > 0)
        tl.store(path + t, state)
        tl.store(held + t, tl.load(posterior + state))
        came += batch * states
        posterior += batch * states


def lattice(scores: Tensor, blank: float) -> Lattice:
    """Return what `models.batch_decode.lattice` returns."""
    scores = scores.contiguous()
    batch, steps, states, width = scores.shape
    alpha = _forward_weights(scores, blank)
    beta = torch.empty_like(alpha)
    shape = {"quarter": states // 4, "width": width, "num_warps": warps(states)}
    _backward[(batch,)](scores, beta, steps, blank, **shape)
    return Lattice(scores, blank, alpha, beta)


def best_path(scores: Tensor, blank: float) -> Steps:
    """Return what `models.batch_decode.best_path` returns."""
    scores = scores.contiguous()
    batch, steps, states, width = scores.shape
    alpha = _forward_weights(scores, blank)
    posterior = alpha.new_empty(steps, batch, states)
    came = torch.empty(steps, batch, states, dtype=torch.uint8, device=scores.device)
    begin = torch.empty(batch, dtype=torch.int64, device=scores.device)
    shape = {"quarter": states // 4, "width": width, "num_warps": warps(states)}
    _backward_path[(batch,)](scores, alpha, posterior, came, begin, steps, blank, SMALLEST, **shape)
    moves = torch.empty(batch, steps, dtype=torch.bool, device=scores.device)
    path = torch.empty(batch, steps, dtype=torch.int64, device=scores.device)
    held = alpha.new_empty(batch, steps)
    _trace[(batch,)](came, posterior, begin, moves, path, held, steps, states=states, num_warps=1)
    return Steps(moves, path, over_bases(moves, held, "amax"))


def warps(states: int) -> int:
    """Return how many warps share a chunk: 8 to 32 scores of a step a thread, which stay in registers."""
    return max(1, min(16, states // 128))


def _forward_weights(scores: Tensor, blank: float) -> Tensor:
    batch, steps, states, width = scores.shape
    alpha = torch.empty(steps + 1, batch, states, dtype=torch.float32, device=scores.device)
    shape = {"quarter": states // 4, "width": width, "num_warps": warps(states)}
    _forward[(batch,)](scores, alpha, steps, blank, **shape)
    return alpha
