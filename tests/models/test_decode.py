"""A batch decoded as tensors is decoded as its chunks are, one by one: what a GPU does is what a CPU does."""

import tomllib
from dataclasses import replace

import numpy as np
import pytest
import torch
from model_directories import FLAT
from sequence_scores import lifelike_scores, random_scores

from models import batch_decode
from models.config import ModelConfig, parse_config
from models.decode import decode_batch, decode_chunk


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    torch.set_num_threads(1)  # as a basecaller's: steps this small are slower on more
    return replace(parse_config("dna_r9.4.1", tomllib.loads(FLAT)), blank_score=1.5)


@pytest.mark.parametrize("beam_width", [0, 1, 5, 32])
@pytest.mark.parametrize(("k", "width"), [(1, 4), (2, 5), (3, 4)])
def test_batches_are_decoded_as_their_chunks_are(
    config: ModelConfig, beam_width: int, k: int, width: int
) -> None:
    config = replace(config, beam_width=beam_width)
    scores = np.stack([random_scores(seed, 60, k, width) for seed in range(3)])
    together = decode_batch(torch.from_numpy(scores), config)
    for chunk, call in zip(scores, together, strict=True):
        alone = decode_chunk(chunk, config)
        np.testing.assert_array_equal(call.moves, alone.moves)
        np.testing.assert_array_equal(call.bases, alone.bases)
        np.testing.assert_allclose(call.phred, alone.phred, atol=2e-2)


def test_a_batch_too_large_for_a_device_is_decoded_in_parts(
    config: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = torch.from_numpy(np.stack([random_scores(seed, 40, 1) for seed in range(5)]))
    whole = decode_batch(scores, config)
    sizes: list[int] = []

    def counted(part: torch.Tensor, blank: float) -> batch_decode.Lattice:
        sizes.append(len(part))
        return lattice(part, blank)

    lattice = batch_decode.lattice
    monkeypatch.setattr(batch_decode, "lattice", counted)
    monkeypatch.setattr("models.decode.MOST_CELLS", 2 * 40 * 4)
    for one, other in zip(decode_batch(scores, config), whole, strict=True):
        np.testing.assert_array_equal(one.moves, other.moves)
        np.testing.assert_allclose(one.phred, other.phred, atol=1e-4)
    assert sizes == [2, 2, 1]


@pytest.mark.parametrize("beam_width", [0, 8])
def test_long_and_confident_chunks_are_decoded_alike(config: ModelConfig, beam_width: int) -> None:
    config = replace(config, beam_width=beam_width)
    scores = lifelike_scores(5, 800, 3, confidence=12.0)
    (together,) = decode_batch(torch.from_numpy(scores[None]), config)
    alone = decode_chunk(scores, config)
    np.testing.assert_array_equal(together.moves, alone.moves)
    np.testing.assert_array_equal(together.bases, alone.bases)
    assert np.isfinite(together.phred).all()


@pytest.mark.parametrize("beam_width", [0, 3])
def test_ctc_scores_are_decoded_alike(config: ModelConfig, beam_width: int) -> None:
    config = replace(config, state_len=0, beam_width=beam_width)
    generator = torch.Generator().manual_seed(5)
    scores = torch.log_softmax(3.0 * torch.randn(3, 200, 5, generator=generator), dim=-1)
    for chunk, call in zip(scores.numpy(), decode_batch(scores, config), strict=True):
        alone = decode_chunk(chunk, config)
        assert alone.moves.sum() > 50
        np.testing.assert_array_equal(call.moves, alone.moves)
        np.testing.assert_array_equal(call.bases, alone.bases)
        np.testing.assert_allclose(call.phred, alone.phred, atol=1e-3)


@pytest.mark.parametrize("beam_width", [0, 8])
def test_scores_of_16_bits_are_summed_in_32(config: ModelConfig, beam_width: int) -> None:
    config = replace(config, beam_width=beam_width)
    scores = torch.from_numpy(lifelike_scores(7, 300, 3)[None]).half()
    (half,), (whole,) = decode_batch(scores, config), decode_batch(scores.float(), config)
    assert half.moves.sum() > 50
    np.testing.assert_array_equal(half.moves, whole.moves)
    np.testing.assert_array_equal(half.phred, whole.phred)


def test_qualities_are_scaled_and_kept_within_1_to_50(config: ModelConfig) -> None:
    scores = lifelike_scores(1, 200, 2)
    plain = decode_chunk(scores, replace(config, q_scale=1.0, q_bias=0.0))
    scaled = decode_chunk(scores, replace(config, q_scale=0.5, q_bias=3.0))
    inside = (plain.phred > 1) & (plain.phred < 50)
    assert inside.sum() > 20
    np.testing.assert_allclose(scaled.phred[inside], plain.phred[inside] * 0.5 + 3.0, rtol=1e-5)
    for bias, bound in ((1e3, 50.0), (-1e3, 1.0)):
        called = decode_chunk(scores, replace(config, q_bias=bias))
        assert set(called.phred[called.moves > 0]) == {bound}
