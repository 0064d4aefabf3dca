"""Simulated reads are seeded, and their truth is where they say it is."""

import itertools

import numpy as np
import pytest

from reads.kmers import decode, encode, kmers, reverse_complement
from reads.read import Read
from reads.resquiggle import resquiggle
from reads.simulate import chemistry, simulate, simulate_reads


def test_the_same_seed_gives_the_same_reads() -> None:
    first, again = (list(itertools.islice(simulate_reads(seed=5, mean_bases=300), 3)) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        assert a.sequence == b.sequence
        assert a.read.read_id == b.read.read_id
        np.testing.assert_array_equal(a.read.signal, b.read.signal)
    (other,) = itertools.islice(simulate_reads(seed=6, mean_bases=300), 1)
    assert other.sequence != first[0].sequence


def test_reads_have_the_length_that_was_asked_for() -> None:
    lengths = [len(s.sequence) for s in itertools.islice(simulate_reads(seed=1, mean_bases=400), 400)]
    assert np.mean(lengths) == pytest.approx(400, rel=0.1)
    assert min(lengths) >= 50


def test_strands_come_from_both_sides_of_the_reference() -> None:
    reference = np.random.default_rng(0).integers(0, 4, 5000).astype(np.uint8)
    strands = set()
    for simulated in itertools.islice(simulate_reads(seed=2, mean_bases=200, contigs={"chr": reference}), 20):
        locus, length = simulated.locus, len(simulated.sequence)
        piece = reference[locus.start : locus.start + length]
        expected = piece if locus.strand == "+" else reverse_complement(piece)
        assert locus.contig == "chr"
        assert simulated.sequence == decode(expected)
        strands.add(locus.strand)
    assert strands == {"+", "-"}


def test_bases_begin_where_the_truth_says() -> None:
    levels = chemistry()
    codes = np.random.default_rng(3).integers(0, 4, 800).astype(np.uint8)
    simulated = simulate(codes, np.random.default_rng(4), levels)
    numbers = kmers(codes, levels.k)
    picoamps = simulated.read.calibration.picoamps(simulated.read.signal)
    found = resquiggle(picoamps, levels.means[numbers], np.full(len(numbers), 0.3, np.float32))
    assert found is not None
    # Where the strand begins is told from the adapter only roughly.
    off = np.abs(found.starts[:-1] - simulated.base_starts[: len(numbers)])[100:]
    assert np.median(off) <= 1
    assert np.percentile(off, 95) <= 10
    assert found.scale == pytest.approx(levels.width_pa, rel=0.25)


def test_samples_per_base_are_those_of_the_chemistry() -> None:
    reads: list[Read] = []
    bases = 0
    for simulated in itertools.islice(simulate_reads(seed=7, mean_bases=3000), 30):
        reads.append(simulated.read)
        bases += len(simulated.sequence)
    levels = chemistry()
    dwell = float((levels.dwell * np.arange(1, len(levels.dwell) + 1)).sum())
    assert sum(len(read.signal) for read in reads) / bases == pytest.approx(dwell, rel=0.12)


def test_an_unknown_chemistry_says_which_there_are() -> None:
    with pytest.raises(ValueError, match=r"no chemistry 'r7'; there is r9\.4\.1"):
        chemistry("r7")


def test_a_sequence_survives_encoding() -> None:
    assert decode(encode("ACGTacgt")) == "ACGTACGT"
    assert decode(reverse_complement(encode("AACG"))) == "CGTT"
    assert kmers(encode("ACGT"), 2).tolist() == [1, 6, 11]
    with pytest.raises(ValueError, match="base 3 is 'N'"):
        encode("ACN")
