"""Simulated reads are seeded, and their truth is where they say it is."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reads.errors import ReadFileError
from reads.kmers import decode, encode, kmers, reverse_complement
from reads.levels import Levels, chemistry
from reads.read import Read
from reads.resquiggle import resquiggle
from reads.simulate import (
    Pore,
    Simulation,
    autoregressive,
    draw_length,
    noise,
    play,
    simulate,
    simulate_reads,
    simulated_read,
    strand_levels,
)
from reads.strands import Strands


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


def test_a_sample_that_a_step_falls_into_shows_part_of_it() -> None:
    current, starts = play(np.array([0.0, 1.0, -1.0]), np.array([2.25, 3.5, 4.25]))
    assert starts.tolist() == [0, 2, 6, 10]
    np.testing.assert_allclose(current, [0, 0, 0.75, 1, 1, 0.5, -1, -1, -1, -1])


def test_a_strand_slows_down_and_speeds_up_on_its_way() -> None:
    levels = chemistry()
    numbers = np.random.default_rng(0).integers(0, 4**levels.k, 60_000)

    def spread(pore: Pore) -> float:
        _, spans = strand_levels(numbers, np.random.default_rng(1), levels, pore)
        return float(np.log(spans.reshape(-1, 100).mean(axis=1)).std())

    steady = spread(Pore(speed_sd=0.0, wander_sd=0.0))
    assert spread(Pore(speed_sd=0.0)) == pytest.approx(np.hypot(steady, 0.049), rel=0.15)


def test_strands_stall_as_often_as_they_are_said_to() -> None:
    levels = chemistry()
    numbers = np.random.default_rng(0).integers(0, 4**levels.k, 60_000)
    spans = strand_levels(numbers, np.random.default_rng(1), levels, Pore(speed_sd=0.0, stall_bases=1000))[1]
    assert 40 < (spans > 130).sum() < 80  # of 60, but for the shortest stalls


def test_noise_is_white_and_slow_as_the_table_says() -> None:
    levels = chemistry()
    made = noise(400_000, np.random.default_rng(2), levels)
    assert made.var() == pytest.approx(levels.white_sd**2 + levels.slow_sd**2, rel=0.02)
    assert np.mean(made[1:] * made[:-1]) == pytest.approx(levels.slow_sd**2 * levels.slow_rho, rel=0.05)


@pytest.mark.parametrize("rho", [0.0, 1e-300, 0.1, 0.7, 0.9933, 0.99999])
@pytest.mark.parametrize("count", [0, 1, 256, 1000])
def test_an_autoregressive_sequence_adds_to_each_innovation_a_part_of_the_value_before(
    count: int, rho: float
) -> None:
    innovations = np.random.default_rng(7).normal(size=count)
    one_by_one = list(itertools.accumulate(innovations.tolist(), lambda before, new: new + rho * before))
    assert autoregressive(innovations, rho) == pytest.approx(one_by_one, rel=1e-9, abs=1e-12)


def test_no_noise_leaves_the_levels() -> None:
    levels = replace(chemistry(), spreads=np.zeros(4**6, np.float32))
    codes = np.random.default_rng(3).integers(0, 4, 200).astype(np.uint8)
    pore = Pore(noise=0.0, drift_sd=0.0)
    one = simulate(codes, np.random.default_rng(4), levels, pore=pore)
    held = one.base_starts[:-6][np.diff(one.base_starts[:-5]) > 3] + 2
    seen = one.read.calibration.picoamps(one.read.signal)[held]
    expected = levels.means[kmers(codes, 6)[np.searchsorted(one.base_starts[:-5], held, "right") - 1]]
    assert np.corrcoef(seen, expected)[0, 1] > 0.9999


def test_lengths_have_the_spread_that_was_asked_for() -> None:
    def lengths(sd_bases: float | None) -> np.ndarray:
        simulation = Simulation(1, chemistry(), mean_bases=1000, sd_bases=sd_bases)
        return np.array([draw_length(simulation, np.random.default_rng(n)) for n in range(3000)])

    assert set(lengths(0.0)) == {1000}
    assert lengths(200.0).std() == pytest.approx(200, rel=0.05)
    assert lengths(None).std() == pytest.approx(707, rel=0.05)
    assert lengths(None).mean() == pytest.approx(1000, rel=0.05)


@pytest.mark.parametrize(("strands", "sign"), [(Strands.FORWARD, "+"), (Strands.REVERSE, "-")])
def test_one_strand_can_be_asked_for(strands: Strands, sign: str) -> None:
    contigs = {"chr": np.random.default_rng(0).integers(0, 4, 3000).astype(np.uint8)}
    simulation = Simulation(1, chemistry(), contigs, mean_bases=200, strands=strands)
    assert {simulated_read(simulation, number).locus.strand for number in range(6)} == {sign}


@pytest.mark.parametrize("name", ["r7", "r10.4.1_5khz"])
def test_an_unknown_chemistry_says_which_there_are_and_how_to_bring_one(name: str) -> None:
    with pytest.raises(ValueError, match=rf"no chemistry '{name}'; there is r9\.4\.1: .*\.npz"):
        chemistry(name)


def test_a_table_of_levels_survives_its_file(tmp_path: Path) -> None:
    levels = replace(chemistry(), sample_rate=5000.0)
    levels.save(tmp_path / "mine.npz")
    again = chemistry(str(tmp_path / "mine.npz"))
    np.testing.assert_array_equal(again.means, levels.means)
    assert again.sample_rate == 5000.0
    assert simulated_read(Simulation(1, again, mean_bases=60), 0).read.sample_rate == 5000.0


@pytest.mark.parametrize("content", [b"", b"no table", b"PK\x03\x04 broken"])
def test_a_file_that_is_no_table_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.npz").write_bytes(content)
    with pytest.raises(ReadFileError, match=r"mine.npz: not a table of levels"):
        Levels.load(tmp_path / "mine.npz")
    with pytest.raises(ReadFileError, match="there is no such file"):
        Levels.load(tmp_path / "none.npz")


def test_a_sequence_survives_encoding() -> None:
    assert decode(encode("ACGTacgt")) == "ACGTACGT"
    assert decode(reverse_complement(encode("AACG"))) == "CGTT"
    assert kmers(encode("ACGT"), 2).tolist() == [1, 6, 11]
    with pytest.raises(ValueError, match="base 3 is 'N'"):
        encode("ACN")
