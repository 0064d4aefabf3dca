"""The losses in torch agree with the kernels of the CPU, and with the enumeration of every path."""

import itertools

import numpy as np
import pytest
import torch

from models.device_loss import crf_loss_on_device, ctc_loss
from models.loss import crf_loss

BLANK = 1.5
SEQUENCES = [np.array(codes, np.uint8) for codes in ([2, 1, 3, 3], [0, 0, 0, 0, 0, 1, 2], [1, 2, 1])]


def scores(width: int, steps: int = 7) -> torch.Tensor:
    values = np.random.default_rng(width).normal(0, 2, (3, steps, 16, width))
    return torch.from_numpy(values.astype(np.float32)).requires_grad_()


@pytest.mark.parametrize("width", [4, 5])
@pytest.mark.parametrize("bounded", [False, True])
def test_the_crf_loss_is_that_of_the_kernels(width: int, bounded: bool) -> None:
    bounds = None
    if bounded:
        low = np.array([0, 0, 0, 0, 0, 1, 1])
        bounds = [(low, np.minimum(np.arange(7) + 3, len(s) - 1)) for s in SEQUENCES]
    kernel, device = scores(width), scores(width)
    expected = crf_loss(kernel, BLANK, SEQUENCES, bounds)
    found = crf_loss_on_device(device, BLANK, SEQUENCES, bounds)
    (expected * 3).backward()
    (found * 3).backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(device.grad, kernel.grad, rtol=1e-4, atol=1e-5)


def test_a_sequence_that_the_steps_cannot_hold_counts_for_nothing() -> None:
    sequences = [SEQUENCES[0], np.zeros(30, np.uint8), SEQUENCES[2]]
    kernel, device = scores(5), scores(5)
    crf_loss(kernel, BLANK, sequences).backward()
    crf_loss_on_device(device, BLANK, sequences).backward()
    torch.testing.assert_close(device.grad, kernel.grad, rtol=1e-4, atol=1e-5)
    assert device.grad is not None
    assert device.grad[1].abs().sum() == 0
    assert crf_loss_on_device(scores(5), BLANK, [np.zeros(30, np.uint8)] * 3).isnan()


def test_long_chunks_stay_finite() -> None:
    rng = np.random.default_rng(1)
    values = torch.from_numpy(rng.normal(0, 5, (2, 400, 16, 4)).astype(np.float32)).requires_grad_()
    sequences = [rng.integers(0, 4, 150).astype(np.uint8) for _ in range(2)]
    loss = crf_loss_on_device(values, BLANK, sequences)
    loss.backward()
    assert values.grad is not None
    assert torch.isfinite(values.grad).all()
    assert loss.item() == pytest.approx(crf_loss(values.detach(), BLANK, sequences).item(), rel=1e-4)


def collapse(labels: tuple[int, ...]) -> list[int]:
    return [label - 1 for label, _ in itertools.groupby(labels) if label]


@pytest.mark.parametrize("sequence", [[0], [2, 2], [1, 3, 1]])
def test_the_ctc_loss_is_the_share_of_paths_that_spell_the_sequence(sequence: list[int]) -> None:
    steps = 4
    logits = torch.from_numpy(np.random.default_rng(2).normal(0, 1, (1, steps, 5)).astype(np.float32))
    probabilities = logits.log_softmax(2)
    spelling = [
        sum(float(probabilities[0, t, label]) for t, label in enumerate(labels))
        for labels in itertools.product(range(5), repeat=steps)
        if collapse(labels) == sequence
    ]
    expected = -np.logaddexp.reduce(spelling) / len(sequence)
    found = ctc_loss(probabilities, [np.array(sequence, np.uint8)])
    assert found.item() == pytest.approx(expected, abs=1e-5)


def test_the_ctc_loss_leaves_out_what_the_steps_cannot_hold() -> None:
    logits = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    one, repeats = np.array([0, 1], np.uint8), np.array([3, 3, 3], np.uint8)  # which needs five steps
    both = ctc_loss(logits.log_softmax(2), [one, repeats])
    both.backward()
    assert both.item() == pytest.approx(ctc_loss(logits[:1].log_softmax(2), [one]).item())
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[1].abs().sum() == 0
    assert ctc_loss(logits[:1].log_softmax(2), [repeats]).isnan()
