"""Examples tell the network the truth: the bases that pass during a chunk, where they pass."""

import itertools

import numpy as np
import pytest

from models.examples import CENTRE, AlignedRead, RealSource, SimulatedSource, Source, SplicedSource
from models.scaling import normalise
from reads.kmers import encode, kmers
from reads.levels import chemistry
from reads.simulate import simulate_reads

SAMPLES, CONTEXT, STRIDE = 1000, 3, 5


@pytest.fixture(scope="module")
def reads() -> list[AlignedRead]:
    levels = chemistry()
    aligned = []
    for simulated in itertools.islice(simulate_reads(seed=8, mean_bases=4000), 6):
        starts = simulated.base_starts[: len(simulated.sequence) - levels.k + 2]
        aligned.append(AlignedRead(normalise(simulated.read.signal), encode(simulated.sequence), starts))
    return aligned


def sources(reads: list[AlignedRead]) -> list[Source]:
    levels = chemistry()
    return [
        RealSource(reads, SAMPLES, CONTEXT),
        SplicedSource(reads, levels.k, SAMPLES, CONTEXT, levels),
        SimulatedSource(levels, SAMPLES, CONTEXT),
    ]


@pytest.mark.parametrize("index", [0, 1, 2])
def test_signal_follows_the_levels_of_the_bases_that_pass(reads: list[AlignedRead], index: int) -> None:
    levels, source = chemistry(), sources(reads)[index]
    correlations = []
    for seed in range(20):
        example = source.draw(np.random.default_rng(seed))
        assert example.signal.shape == example.passed.shape == (SAMPLES,)
        assert example.passed[0] == 1
        assert example.passed[-1] == len(example.sequence) - CONTEXT
        assert set(np.diff(example.passed)) <= {0, 1, 2, 3, 4, 5, 6}
        # The base that passes is the CENTRE of the k-mer that is read; the last ones reach past the truth.
        numbers = kmers(example.sequence, levels.k)
        position = example.passed - 1 + CONTEXT - CENTRE
        known = position < len(numbers)
        expected = levels.means[numbers[position[known]]]
        correlations.append(np.corrcoef(expected, example.signal[known])[0, 1])
    assert np.median(correlations) > 0.9


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_same_generator_draws_the_same_example(reads: list[AlignedRead], index: int) -> None:
    source = sources(reads)[index]
    first, again = (source.draw(np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first.signal, again.signal)
    np.testing.assert_array_equal(first.sequence, again.sequence)


def test_bounds_hold_the_lattice_near_the_alignment(reads: list[AlignedRead]) -> None:
    example = sources(reads)[2].draw(np.random.default_rng(0))
    low, high = example.bounds(STRIDE)
    held = example.passed[STRIDE - 1 :: STRIDE]
    assert len(low) == SAMPLES // STRIDE
    assert (low <= held).all()
    assert (held < high).all()
    assert low[0] == 0
    assert high[-1] == len(example.sequence) - CONTEXT + 1
    assert (np.diff(low) >= 0).all()
    assert (np.diff(high) >= 0).all()
