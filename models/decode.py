"""Scores to bases, chunk by chunk on the CPU or a batch at once on its device, and how sure each base is.

The best path through posteriors is taken, or a beam searched where the config asks for one. A base's
quality is -10 log10(its error) * q_scale + q_bias, kept within 1 to 50; its error is one minus how sure the
decoder is of it.
"""

from collections.abc import Iterator, Sequence

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


@torch.inference_mode()
def decode_batch(scores: torch.Tensor, config: ModelConfig) -> Sequence[ChunkCall]:
    """Decode the scores of a batch where they are, [N, T, S, 4 or 5] or [N, T, 5] for CTC."""
    if config.state_len == 0:
        # Five numbers a step are no more than what is told of it.
        return [decode_chunk(chunk, config) for chunk in scores.cpu().numpy()]
    chunks = max(1, MOST_CELLS // (scores.shape[1] * scores.shape[2]))
    return [call for part in torch.split(scores, chunks) for call in _decode_lattices(part, config)]


def _decode_lattices(scores: torch.Tensor, config: ModelConfig) -> Iterator[ChunkCall]:
    if config.beam_width:
        steps = batch_decode.best_sequence(scores, config.blank_score, config.beam_width)
    else:
        steps = batch_decode.best_path(scores, config.blank_score)
    phred = -10.0 * (1.0 - steps.sure).clamp(min=LEAST_ERROR).log10() * config.q_scale + config.q_bias
    phred = torch.where(steps.moves, phred.clamp(1.0, 50.0), 0.0)
    bases = torch.where(steps.moves, steps.path % 4, 0)
    told = (steps.moves.to(torch.uint8), bases.to(torch.uint8), phred)
    for call in zip(*(part.cpu().numpy() for part in told), strict=True):
        yield ChunkCall(*call)


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
