"""The beam finds sequences that are likelier than those of one path, and at least as likely as its peer's."""

import itertools
from functools import cache
from importlib.util import find_spec

import numpy as np
import pytest
from conftest import missing
from sequence_scores import lifelike_scores, random_scores, sequence_log_weight, with_stays

from models import beam, crf
from models.basecaller import Basecaller
from models.decode import best_path
from models.zoo import load
from reads.simulate import simulate_reads

BLANK = 2.0
MANY = 1024


def trained_scores(seed: int, steps: int, k: int) -> np.ndarray:
    """Scores of the shipped network, whose lattice is of three bases whatever `k`, on a simulated read."""
    caller = shipped()
    (simulated,) = itertools.islice(simulate_reads(seed=seed, mean_bases=900), 1)
    scores = caller.score(caller.chunk(simulated.read).samples[:1])[0, 100 : 100 + steps]
    return np.ascontiguousarray(scores.numpy())


@cache
def shipped() -> Basecaller:
    caller = load(device="cpu")
    assert isinstance(caller, Basecaller)
    return caller


def emitted(moves: np.ndarray, path: np.ndarray) -> np.ndarray:
    return path[moves > 0] % 4


def log_probability(scores: np.ndarray, codes: np.ndarray) -> float:
    return sequence_log_weight(scores, BLANK, codes) - crf.log_partition(scores, BLANK)


@pytest.mark.parametrize("width", [4, 5])
@pytest.mark.parametrize(("steps", "k"), [(4, 1), (5, 1), (4, 2)])
def test_a_wide_beam_finds_the_likeliest_of_all_sequences(steps: int, k: int, width: int) -> None:
    for seed in range(5):
        scores = random_scores(seed, steps, k, width)
        every = itertools.chain.from_iterable(
            itertools.product(range(4), repeat=length) for length in range(steps + 1)
        )
        # A state of k bases is known from k emissions on: until then one sequence is in several states.
        best = max((sequence_log_weight(scores, BLANK, np.array(c, int)), c) for c in every if len(c) >= k)
        moves, path, _, weight = beam.best_sequence(scores, BLANK, MANY, cut=1e30)
        found = sequence_log_weight(scores, BLANK, emitted(moves, path))
        if moves.sum() >= k:
            assert found == pytest.approx(best[0], abs=1e-4)
            assert weight == pytest.approx(found, abs=1e-3)


def test_the_path_is_one_of_the_lattice() -> None:
    scores = random_scores(3, 200, 3)
    moves, path, _, _ = beam.best_sequence(scores, BLANK, 32)
    for before, after, moved in zip(path[:-1], path[1:], moves[1:], strict=True):
        assert after // 4 == before % 16 if moved else after == before


@pytest.mark.parametrize("make", [random_scores, lifelike_scores, trained_scores])
def test_a_wider_beam_is_no_worse_in_sum_and_any_better_than_the_best_path(make) -> None:
    sums = dict.fromkeys([0, 1, 5, 32, 128], 0.0)
    for seed in range(48):
        scores = make(seed, 120, 2)
        for width in sums:
            if width:
                moves, path, _, _ = beam.best_sequence(scores, BLANK, width)
            else:
                moves, path, _ = best_path(scores, BLANK)
            sums[width] += log_probability(scores, emitted(moves, path))
    best_paths, *beams = sums.values()
    assert beams == sorted(beams)
    assert beams[1] > best_paths


@pytest.mark.parametrize(
    ("make", "least_share"), [(random_scores, 0.4), (lifelike_scores, 0.9), (trained_scores, 0.8)]
)
def test_sequences_are_likelier_than_those_of_fast_ctc_decode(make, least_share: float) -> None:
    """In sum at the same width, and on most chunks where scores are a network's. Neither search is exact: on
    noise, where no sequence stands out, and while the state that a chunk begins in is open, the peer, which
    sums one sequence's states at once, may be the luckier."""
    if not find_spec("fast_ctc_decode"):
        missing("fast-ctc-decode")
    from fast_ctc_decode import crf_beam_search  # noqa: PLC0415

    ours, theirs, at_least = 0.0, 0.0, 0
    for seed in range(20):
        scores = make(seed, 120, 2)
        _, guide = crf.state_posteriors(scores, BLANK)
        # Its transitions are probabilities by the state that is left, the backward guide in them.
        onto = with_stays(scores, BLANK) + guide[1:, :, None]
        steps, states, _ = onto.shape
        left = np.concatenate(
            [onto[:, :, :1], onto[:, :, 1:].transpose(0, 2, 1).reshape(steps, states, 4)], 2
        )
        left = np.exp(left - left.max(axis=2, keepdims=True))
        first = np.exp(guide[0] - guide[0].max())
        sequence, _ = crf_beam_search(
            left / left.sum(axis=2, keepdims=True), first / first.sum(), "NACGT", 32, 0.0
        )
        moves, path, _, _ = beam.best_sequence(scores, BLANK, 32)
        mine = log_probability(scores, emitted(moves, path))
        other = log_probability(scores, np.array(["ACGT".index(base) for base in sequence], int))
        ours, theirs = ours + mine, theirs + other
        at_least += mine >= other - 1e-4
    assert ours > theirs
    assert at_least >= least_share * 20


def test_bases_that_stand_out_are_surer() -> None:
    sure = {}
    for confidence in (1.0, 4.0, 8.0):
        moves, _, certainty, _ = beam.best_sequence(lifelike_scores(1, 300, 2, confidence), BLANK, 32)
        assert ((certainty > 0) == (moves > 0)).all()
        sure[confidence] = certainty[moves > 0].mean()
    assert sure[1.0] < sure[4.0] < sure[8.0] <= 1.0


def test_a_base_is_as_sure_as_the_states_near_its_path() -> None:
    """Two moves, over 2 and 1 steps: the mean of the powers of what lies in the state or one base from it."""
    posterior = np.full((4, 16), 0.0, np.float32)
    moves, path = np.array([1, 0, 1], np.uint8), np.array([6, 6, 9])
    # Near 6 = CG: 6, x·C for 1, 5, 9, 13, and G·x for 8..11. Near 9 = GC: 9, 2, 6, 10, 14, 4..7.
    posterior[1, [6, 13, 0]] = 0.5, 0.25, 0.25
    posterior[2, [9, 2]] = 0.5, 0.5
    posterior[3, [9, 8]] = 0.25, 0.75
    sure = np.zeros(3, np.float32)
    beam.correctness(posterior, moves, path, sure)
    assert sure.tolist() == pytest.approx([(0.75**0.4 + 0.5**0.4) / 2, 0.0, 0.25**0.4])
