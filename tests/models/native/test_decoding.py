"""The compiled best path: that of the reference, to ties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.crf import SMALLEST
from models.decode import reference_path
from models.native.decoding import best_path, can_decode

pytestmark = pytest.mark.skipif(
    not can_decode(64, 4), reason="needs a C++ compiler at installation, and AVX-512 VNNI"
)


@given(
    steps=st.integers(1, 60),
    states=st.sampled_from([64, 256, 1024]),
    spread=st.sampled_from([0.0, 0.5, 3.0, 8.0]),
    blank=st.sampled_from([-2.0, 2.0, 6.0]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_path_and_posteriors_are_those_of_the_reference(
    steps: int, states: int, spread: float, blank: float, seed: int
) -> None:
    scores = np.random.default_rng(seed).normal(0, spread, (steps, states, 4)).astype(np.float32)
    moves, path, held = best_path(scores, blank, SMALLEST)
    expected_moves, expected_path, expected_held = reference_path(scores, blank, SMALLEST)
    if spread:  # else every path is as good as another
        assert np.array_equal(moves, expected_moves)
        assert np.array_equal(path, expected_path)
        assert np.abs(held - expected_held).max() < 1e-4
    assert ((moves == 0) | (moves == 1)).all()
    assert ((path >= 0) & (path < states)).all()


def test_each_state_follows_from_the_one_before() -> None:
    scores = np.random.default_rng(3).normal(0, 3, (300, 64, 4)).astype(np.float32)
    moves, path, _ = best_path(scores, 2.0, SMALLEST)
    for t in range(1, 300):
        assert path[t] // 4 == path[t - 1] % 16 if moves[t] else path[t] == path[t - 1]


def test_steeper_scores_than_any_model_gives_stay_finite() -> None:
    scores = np.where(np.random.default_rng(4).random((500, 64, 4)) < 0.02, 12.0, -12.0).astype(np.float32)
    _, _, held = best_path(scores, 2.0, SMALLEST)
    assert np.isfinite(held).all()
    assert ((held >= 0) & (held <= 1.001)).all()


def test_a_chunk_that_is_a_view_is_decoded_as_its_copy_is() -> None:
    scores = np.random.default_rng(5).normal(0, 3, (100, 2, 64, 4)).astype(np.float32)
    view = scores[:, 1]
    assert np.array_equal(best_path(view, 2.0, SMALLEST)[1], best_path(view.copy(), 2.0, SMALLEST)[1])


def test_lattices_it_does_not_know_are_left_to_the_reference() -> None:
    assert not can_decode(16, 4)
    assert not can_decode(64, 5)
