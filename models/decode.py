"""Scores to bases, chunk by chunk on the CPU or a batch at once on its device, and how sure each base is.

The best path through posteriors is taken, or a beam searched where the config asks for one. A base's
quality is -10 log10(its error) * q_scale + q_bias, kept within 1 to 50; its error is one minus how sure the
decoder is of it.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from models import batch_decode, beam, crf, ctc
from models.caller import ChunkCall
from models.config import ModelConfig
from models.native import decoding as native

MOST_CELLS = 1 << 28
"""States of all steps of all chunks that are decoded at once on a device: about 4 GiB of its memory."""
LEAST_ERROR = 1e-5
"""No base is surer than Q50."""


def decode_chunk(scores: NDArray[np.float32], config: ModelConfig) -> ChunkCall:
    """Decode one chunk's scores, [T, S, 4 or 5] or [T, 5] for CTC."""
    if config.state_len == 0:
        moves, bases, sure = ctc.best_sequence(scores, config.beam_width)
    elif config.beam_width:
        moves, path, sure, _ = beam.best_sequence(scores, config.blank_score, config.beam_width)
        bases = (path % 4).astype(np.uint8)
    else:
        moves, path, sure = best_path(scores, config.blank_score)
        bases = (path % 4).astype(np.uint8)
    emitted = moves.astype(bool)
    phred = -10.0 * np.log10(np.maximum(1.0 - sure, LEAST_ERROR)) * config.q_scale + config.q_bias
    return ChunkCall(
        moves=moves,
        bases=np.where(emitted, bases, 0).astype(np.uint8),
        phred=np.where(emitted, np.clip(phred, 1.0, 50.0), 0.0).astype(np.float32),
    )


def best_path(
    scores: NDArray[np.float32], blank: float
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.float32]]:
    """Return the moves, states and certainties of the path that maximises the sum of log posteriors.

    A base is as sure as the surest of its state's posteriors while it is the newest.
    """
    _, states, width = scores.shape
    find = native.best_path if native.can_decode(states, width) else reference_path
    moves, path, held = find(scores, blank, crf.SMALLEST)
    return moves, path, _surest(moves, held)


def reference_path(
    scores: NDArray[np.float32], blank: float, smallest: float
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.float32]]:
    """Return the moves, the states and the states' posteriors, all [T], of the path that maximises the sum of
    log(posterior + smallest), on any machine."""
    steps, states, _ = scores.shape
    posterior = crf.posteriors(scores, blank)
    moves, path = np.empty(steps, np.uint8), np.empty(steps, np.int64)
    crf.best_path(np.log(posterior + np.float32(smallest)), np.empty((steps, states), np.uint8), moves, path)
    return moves, path, posterior[np.arange(steps), path].sum(axis=1)


class Scans(Protocol):
    """The recursions over a batch's lattices: `models.batch_decode`, or kernels that do the same."""

    def lattice(self, scores: torch.Tensor, blank: float) -> batch_decode.Lattice:
        """Run both recursions."""

    def best_path(self, scores: torch.Tensor, blank: float) -> batch_decode.Steps:
        """Return the paths that maximise the sum of log posteriors."""


def tell(scores: torch.Tensor, config: ModelConfig, scans: Scans = batch_decode) -> tuple[torch.Tensor, ...]:
    """Decode the scores of a batch where they are, [N, T, S, 4 or 5] or [N, T, 5] for CTC.

    Returns what `chunk_calls` has to be told: moves, bases and qualities, [N, T] each; or of CTC whose
    prefixes are to be searched, which is work for cores, the scores.
    """
    if config.state_len == 0 and config.beam_width:
        return (scores.float(),)
    if config.state_len == 0:
        steps = batch_decode.best_labels(scores)
    elif config.beam_width:
        steps = batch_decode.best_sequence(scans.lattice(scores, config.blank_score), config.beam_width)
    else:
        steps = scans.best_path(scores, config.blank_score)
    phred = -10.0 * (1.0 - steps.sure).clamp(min=LEAST_ERROR).log10() * config.q_scale + config.q_bias
    phred = phred.clamp(1.0, 50.0).masked_fill(~steps.moves, 0.0)
    bases = (steps.path % 4).masked_fill(~steps.moves, 0)
    return steps.moves.to(torch.uint8), bases.to(torch.uint8), phred


def chunk_calls(
    told: Sequence[NDArray[Any]],
    config: ModelConfig,
    each: Callable[[Callable[[Any], ChunkCall], Iterable[Any]], Iterable[ChunkCall]] = map,
) -> list[ChunkCall]:
    """Return the calls of what `tell` told, on the host; `each` maps over chunks what is work for cores."""
    if len(told) == 1:
        return list(each(lambda scores: decode_chunk(scores, config), told[0]))
    return [ChunkCall(*call) for call in zip(*told, strict=True)]


@torch.inference_mode()
def decode_batch(scores: torch.Tensor, config: ModelConfig) -> Sequence[ChunkCall]:
    """Decode the scores of a batch where they are, in parts that fit a device, and wait for it."""
    rows = device_rows(scores.shape[1], scores.shape[2])
    calls: list[ChunkCall] = []
    for part in torch.split(scores, rows):
        calls += chunk_calls([one.cpu().numpy() for one in tell(part, config)], config)
    return calls


def device_rows(steps: int, states: int) -> int:
    """Return how many chunks of so many steps and states are decoded at once on a device."""
    return max(1, MOST_CELLS // (steps * states))


@njit(cache=True, nogil=True)
def _surest(moves, held):  # type: ignore[no-untyped-def]
    """Return, float32 [T], the largest of held [T] from each step until the next move."""
    surest = np.empty(len(moves), np.float32)
    best = np.float32(0.0)
    for t in range(len(moves) - 1, -1, -1):
        best = max(best, held[t])
        surest[t] = best
        if moves[t]:
            best = np.float32(0.0)
    return surest
