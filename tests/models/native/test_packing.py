"""Weights as integers: as fine as their sums allow, and what a block holds where."""

import numpy as np
import pytest
import torch

from models.native.packing import LANES, MOST, ONE, PARTS, ZERO, Product, _blocks, _bytes, _rounded, _words
from models.native.typical import CHUNK_SAMPLES, CHUNKS, typical_signal


def unpacked(product: Product, outputs: int, inputs: int, together: int) -> np.ndarray:
    """The integers of a product again, [outputs, inputs]."""
    found = np.empty((outputs, inputs), np.int64)
    at = 0
    for first in range(0, outputs, PARTS * LANES):
        parts = min(PARTS, (outputs - first) // LANES)
        block = product.weights[at : at + parts * LANES * inputs].reshape(
            inputs // together, parts, LANES, together
        )
        found[first : first + parts * LANES] = block.transpose(1, 2, 0, 3).reshape(-1, inputs)
        at += parts * LANES * inputs
    assert at == product.weights.size
    return found


def weights(outputs: int, inputs: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(seed))


def states(inputs: int, count: int = 500) -> torch.Tensor:
    """States that go together, as those of a network do."""
    mixed = weights(count, 8, 2) @ weights(8, inputs, 3) + 0.3 * weights(count, inputs, 4) + 0.5
    return torch.tanh(mixed)[:, None]


def test_what_an_instruction_takes_lies_side_by_side() -> None:
    blocks = _blocks(np.arange(16 * 8).reshape(16, 8), 4)
    assert blocks[:4].tolist() == [0, 1, 2, 3]  # four inputs of the first output
    assert blocks[4:8].tolist() == [8, 9, 10, 11]  # the same of the second
    assert blocks[64:68].tolist() == [4, 5, 6, 7]  # the next inputs of the first


@pytest.mark.parametrize("outputs", [16, 64, 96, 384])
def test_a_product_of_states_is_that_of_the_weights_to_their_rounding(outputs: int) -> None:
    exact, seen = weights(outputs, 96), states(96)
    bias = np.linspace(-1, 1, outputs, dtype=np.float32)
    product = _bytes(exact, bias, seen)
    whole = unpacked(product, outputs, 96, 4)
    assert np.abs(whole).max() <= 127
    as_bytes = np.rint(seen[:, 0].numpy() * ONE).astype(np.int64) + ZERO
    found = as_bytes @ whole.T * product.scales + product.biases
    expected = seen[:, 0].numpy() @ exact.numpy().T + bias
    assert np.abs(found - expected).mean() < 0.02 * expected.std()


def test_rounding_by_what_goes_together_leaves_less_error_than_rounding_each_weight() -> None:
    exact, seen = weights(64, 96).double() * 30, states(96)[:, 0].double()
    moments = seen.T @ seen / len(seen)
    known = (seen @ (_rounded(exact, moments) - exact).T).std()
    plain = (seen @ (exact.round() - exact).T).std()
    assert known < 0.7 * plain


def test_inputs_that_do_not_go_together_are_rounded_each_by_itself() -> None:
    exact = weights(16, 32).double() * 30
    assert torch.equal(_rounded(exact, torch.eye(32).double()), exact.round())


@pytest.mark.parametrize("inputs", [2, 96, 304, 4096])
def test_words_use_32_bits_and_never_more(inputs: int) -> None:
    exact = torch.cat([weights(8, inputs), torch.ones(7, inputs), torch.zeros(1, inputs)])
    product = _words(exact, np.zeros(16, np.float32))
    whole = unpacked(product, 16, inputs, 2)
    assert np.abs(whole).max() <= 2**15 - 1
    assert np.abs(whole).sum(1).max() * MOST < 2**31
    assert (np.abs(whole * product.scales[:, None] - exact.numpy()) <= 0.501 * product.scales[:, None]).all()
    assert (whole[15] == 0).all()


def test_the_typical_signal_is_normalised_and_always_the_same() -> None:
    signal = typical_signal()
    assert signal.shape == (CHUNKS, CHUNK_SAMPLES)
    assert abs(float(np.median(signal))) < 0.3
    first = signal.copy()
    typical_signal.cache_clear()
    assert np.array_equal(typical_signal(), first)
