"""The lattice agrees with the enumeration of every path on lattices small enough to enumerate."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import crf
from models.loss import chunk_loss, crf_loss

BLANK = 1.5


def transitions(state: int, states: int) -> list[tuple[int, int]]:
    """Where a path in `state` may go: (next state, entry 0 = stay, 1 + j = drop base j)."""
    dropped, rest = divmod(state, states // 4)
    return [(state, 0), *((rest * 4 + base, 1 + dropped) for base in range(4))]


def enumerate_paths(scores: np.ndarray, blank: float):
    """Yield (score, states visited, entries) of every path through scores [T, S, 4 or 5]."""
    steps, states, width = scores.shape
    full = scores if width == 5 else np.concatenate([np.full((steps, states, 1), blank), scores], axis=2)
    for start in range(states):
        for choices in itertools.product(range(5), repeat=steps):
            state, score, visited, entries = start, 0.0, [start], []
            for t, choice in enumerate(choices):
                state, entry = transitions(state, states)[choice]
                score += full[t, state, entry]
                visited.append(state)
                entries.append(entry)
            yield score, visited, entries


def random_scores(seed: int, steps: int, k: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2, (steps, 4**k, width)).astype(np.float32)


@pytest.mark.parametrize("width", [4, 5])
@pytest.mark.parametrize(("steps", "k"), [(1, 1), (4, 1), (3, 2)])
def test_partition_function_is_the_sum_over_all_paths(steps: int, k: int, width: int) -> None:
    scores = random_scores(1, steps, k, width)
    paths = np.array([score for score, _, _ in enumerate_paths(scores, BLANK)])
    assert crf.log_partition(scores, BLANK) == pytest.approx(np.logaddexp.reduce(paths), abs=1e-4)


@pytest.mark.parametrize("width", [4, 5])
@pytest.mark.parametrize(("steps", "k"), [(4, 1), (3, 2)])
def test_posteriors_are_the_share_of_paths_through_each_transition(steps: int, k: int, width: int) -> None:
    scores = random_scores(2, steps, k, width)
    expected = np.zeros((steps, 4**k, 5))
    total = crf.log_partition(scores, BLANK)
    for score, visited, entries in enumerate_paths(scores, BLANK):
        for t, entry in enumerate(entries):
            expected[t, visited[t + 1], entry] += np.exp(score - total)
    np.testing.assert_allclose(crf.posteriors(scores, BLANK), expected, atol=1e-5)


@pytest.mark.parametrize("width", [4, 5])
@pytest.mark.parametrize(("steps", "k"), [(4, 1), (3, 2)])
def test_states_have_the_share_of_paths_and_the_weight_of_what_may_follow(
    steps: int, k: int, width: int
) -> None:
    scores = random_scores(7, steps, k, width)
    total = crf.log_partition(scores, BLANK)
    shares = np.zeros((steps + 1, 4**k))
    for score, visited, _ in enumerate_paths(scores, BLANK):
        shares[np.arange(steps + 1), visited] += np.exp(score - total)
    posterior, guide = crf.state_posteriors(scores, BLANK)
    np.testing.assert_allclose(posterior, shares, atol=1e-5)
    for t in range(steps):
        follow = np.full(4**k, -np.inf)
        for score, visited, _ in enumerate_paths(scores[t:], BLANK):
            follow[visited[0]] = np.logaddexp(follow[visited[0]], score)
        np.testing.assert_allclose(guide[t], follow - follow.max(), atol=1e-4)
    assert (guide[steps] == 0.0).all()


@given(seed=st.integers(0, 2**32), steps=st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_best_path_beats_every_other(seed: int, steps: int) -> None:
    log_posterior = np.log(crf.posteriors(random_scores(seed, steps, 1, 5), 0.0))
    moves, path = np.zeros(steps, np.uint8), np.zeros(steps, np.int64)
    crf.best_path(log_posterior, np.zeros((steps, 4), np.uint8), moves, path)
    _, visited, entries = max(enumerate_paths(log_posterior, 0.0))
    assert path.tolist() == visited[1:]
    assert moves.tolist() == [int(entry > 0) for entry in entries]


def test_best_path_survives_long_and_confident_chunks() -> None:
    scores = random_scores(3, 3000, 3, 4) * 4
    posterior = crf.posteriors(scores, 2.0)
    assert np.isfinite(posterior).all()
    np.testing.assert_allclose(posterior.sum(axis=(1, 2)), 1.0, atol=1e-4)


@pytest.mark.parametrize("width", [4, 5])
@pytest.mark.parametrize("sequence", [[2, 1, 3], [0, 0, 0], [1, 2]])
def test_loss_is_the_share_of_paths_that_emit_the_sequence(width: int, sequence: list[int]) -> None:
    k, steps = 2, 3
    scores = random_scores(4, steps, k, width)
    start = sequence[0] * 4 + sequence[1]
    emitting = [
        score
        for score, visited, entries in enumerate_paths(scores, BLANK)
        if visited[0] == start
        and [s % 4 for s, e in zip(visited[1:], entries, strict=True) if e] == sequence[2:]
    ]
    expected = (crf.log_partition(scores, BLANK) - np.logaddexp.reduce(emitting)) / len(sequence)
    loss, _ = chunk_loss(scores, BLANK, np.array(sequence, np.uint8))
    assert loss == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("width", [4, 5])
def test_gradient_is_that_of_the_loss(width: int) -> None:
    scores = torch.from_numpy(random_scores(5, 6, 2, width)[None]).requires_grad_()
    sequence = np.array([0, 1, 1, 3], np.uint8)
    crf_loss(scores, BLANK, [sequence]).backward()
    assert scores.grad is not None
    rng = np.random.default_rng(0)
    direction = rng.normal(0, 1, scores.shape[1:]).astype(np.float32)
    base = scores.detach().numpy()[0]
    ahead = chunk_loss(base + 1e-2 * direction, BLANK, sequence)[0]
    behind = chunk_loss(base - 1e-2 * direction, BLANK, sequence)[0]
    assert (scores.grad.numpy()[0] * direction).sum() == pytest.approx((ahead - behind) / 2e-2, abs=2e-3)


def test_a_sequence_longer_than_the_steps_has_no_gradient() -> None:
    loss, gradient = chunk_loss(random_scores(6, 3, 1, 4), BLANK, np.zeros(9, np.uint8))
    assert loss == float("inf")
    assert gradient is None
