"""CTC's greedy and prefix beam search agree with the definition, and with their peer."""

import itertools
from importlib.util import find_spec

import numpy as np
import pytest
from conftest import missing
from hypothesis import given, settings
from hypothesis import strategies as st

from models import ctc


def random_logs(seed: int, steps: int, sharpness: float = 2.5) -> np.ndarray:
    values = np.random.default_rng(seed).normal(0, sharpness, (steps, 5))
    return (values - np.logaddexp.reduce(values, axis=1, keepdims=True)).astype(np.float32)


def collapsed(labels: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(label for label, _ in itertools.groupby(labels) if label)


def sequence_log_probabilities(logs: np.ndarray) -> dict[tuple[int, ...], float]:
    sums: dict[tuple[int, ...], float] = {}
    for labels in itertools.product(range(5), repeat=len(logs)):
        weight = float(logs[np.arange(len(logs)), labels].sum())
        sequence = collapsed(labels)
        sums[sequence] = np.logaddexp(sums.get(sequence, -np.inf), weight)
    return sums


@pytest.mark.parametrize("seed", range(6))
def test_a_wide_beam_finds_the_likeliest_sequence_and_its_probability(seed: int) -> None:
    logs = random_logs(seed, 5, sharpness=1.0)
    best, weight = max(sequence_log_probabilities(logs).items(), key=lambda item: item[1])
    codes = np.zeros(5, np.int64)
    length, found = ctc.prefix_search(logs, 1000, codes)
    assert tuple(codes[:length]) == best
    assert found == pytest.approx(weight, abs=1e-4)


@pytest.mark.parametrize("sequence", [(1,), (1, 1), (2, 3, 2), (4, 4, 1), ()])
def test_a_sequence_is_laid_on_its_best_path(sequence: tuple[int, ...]) -> None:
    logs = random_logs(7, 6)
    moves, bases = np.zeros(6, np.uint8), np.zeros(6, np.uint8)
    ctc.align(logs, np.array(sequence, np.int64), moves, bases)
    paths = [labels for labels in itertools.product(range(5), repeat=6) if collapsed(labels) == sequence]
    best = max(paths, key=lambda labels: logs[np.arange(6), labels].sum())
    before = (0, *best[:-1])
    starts = [label if label != last else 0 for last, label in zip(before, best, strict=True)]
    assert np.where(moves > 0, bases + 1, 0).tolist() == starts


@given(seed=st.integers(0, 2**32), steps=st.integers(1, 80))
@settings(max_examples=30, deadline=None)
def test_greedy_takes_the_best_label_of_each_step(seed: int, steps: int) -> None:
    logs = random_logs(seed, steps)
    moves, bases, sure = ctc.best_sequence(logs, 0)
    assert tuple(bases[moves > 0] + 1) == collapsed(tuple(logs.argmax(axis=1)))
    assert ((sure > 0) == (moves > 0)).all()


@pytest.mark.parametrize("seed", range(4))
def test_both_searches_are_those_of_fast_ctc_decode(seed: int) -> None:
    if not find_spec("fast_ctc_decode"):
        missing("fast-ctc-decode")
    from fast_ctc_decode import beam_search, viterbi_search  # noqa: PLC0415

    logs = random_logs(seed, 200)
    called, starts = viterbi_search(np.exp(logs), "NACGT", True, 1.0, 0.0)
    sequence, qualities = called[: len(starts)], called[len(starts) :]
    moves, bases, sure = ctc.best_sequence(logs, 0)
    assert "".join("ACGT"[base] for base in bases[moves > 0]) == sequence
    assert np.flatnonzero(moves).tolist() == list(starts)
    phred = np.round(-10 * np.log10(np.maximum(1 - sure[moves > 0], 1e-4)))
    assert phred.tolist() == [ord(character) - 33 for character in qualities]
    for width in (1, 5, 32):
        sequence, _ = beam_search(np.exp(logs), "NACGT", width, 0.0)
        moves, bases, _ = ctc.best_sequence(logs, width)
        assert "".join("ACGT"[base] for base in bases[moves > 0]) == sequence
