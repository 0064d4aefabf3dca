"""Cut into chunks, a read is called as the network would call it whole, whatever its company."""

import tomllib
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_directories import FAMILIES, QUARTZNET, random_network

from models.basecall import Basecall
from models.basecaller import Basecaller, call
from models.config import ModelConfig, parse_config
from reads.read import Calibration, Read

FIELD = 3 * (3 + 5 + 3) + 4
"""Samples to either side that a score of QUARTZNET depends on: half of each kernel, of steps of 3 samples."""


@cache
def basecaller(name: str = "dna_r9.4.1_quartznet", **settings: int) -> Basecaller:
    text = FAMILIES[name]
    config: ModelConfig = parse_config(name, tomllib.loads(text))
    config = replace(config, beam_width=0, trims=False, **settings)
    return Basecaller(config, random_network(name, text, seed=3), torch.device("cpu"))


def made_read(samples: int, seed: int, rate: float = 4000.0) -> Read:
    rng = np.random.default_rng(seed)
    levels = np.repeat(rng.normal(500, 80, samples // 8 + 1), 8)[:samples]
    return Read(f"{seed}", (levels + rng.normal(0, 15, samples)).astype(np.int16), Calibration(0, 0.2), rate)


def called(caller: Basecaller, *reads: Read) -> list[Basecall]:
    return [basecall for _, basecall in call(caller, reads)]


def assert_same(one: Basecall, other: Basecall) -> None:
    assert one.sequence == other.sequence
    assert one.qstring == other.qstring
    np.testing.assert_array_equal(one.moves, other.moves)


def test_the_network_of_these_tests_calls_more_than_a_few_bases() -> None:
    (whole,) = called(basecaller(), made_read(3000, 1))
    assert len(whole.sequence) > 100
    assert len(set(whole.sequence)) > 1


@given(
    samples=st.integers(1, 4000),
    chunk_steps=st.integers(70, 400),
    overlap_steps=st.integers(40, 69),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_chunks_are_called_as_the_whole_read_is(
    samples: int, chunk_steps: int, overlap_steps: int, seed: int
) -> None:
    """Exactly, for a network that sees FIELD samples around, and overlaps of twice as much and more."""
    read = made_read(samples, seed)
    # The whole read as one chunk: any chunks of it end where it does, but for a read shorter than a chunk.
    size = max(-(-samples // 3), chunk_steps) * 3
    whole = basecaller(chunk_samples=size, overlap=0)
    cut = basecaller(chunk_samples=chunk_steps * 3, overlap=overlap_steps * 3)
    assert overlap_steps * 3 > 2 * FIELD
    (one,), (other,) = called(whole, read), called(cut, read)
    assert_same(one, other)


def test_a_chunk_of_an_upsampling_network_begins_on_its_wider_steps() -> None:
    """Else its convolutions would fall on other samples than those of the read called whole."""
    read = made_read(5005, 4, 5000.0)
    cut = basecaller("dna_r10.4.1_transformer", chunk_samples=2400, overlap=1200)
    whole = basecaller("dna_r10.4.1_transformer", chunk_samples=5016, overlap=0)
    assert (cut.chunk(read).starts % 12 == 0).all()
    (one,), (other,) = called(whole, read), called(cut, read)
    # Its lattice is decoded a chunk at a time, and a path is not of one chunk alone: near, and not exact.
    agree = np.mean(one.moves == other.moves)
    assert agree > 0.98


@pytest.mark.parametrize("name", FAMILIES)
def test_scores_do_not_tell_what_else_was_in_the_batch(name: str) -> None:
    caller = basecaller(name)
    chunks = np.random.default_rng(2).normal(0, 1, (7, caller.chunk_samples)).astype(np.float32)
    together = caller.score(chunks)
    for first, count in ((0, 1), (6, 1), (2, 3), (1, 5)):
        assert torch.equal(caller.score(chunks[first : first + count]), together[first : first + count])


@pytest.mark.parametrize("samples", [0, 1, 9, 10, 11, 29, 1199, 1200, 1201, 5003])
@pytest.mark.parametrize("name", FAMILIES)
def test_any_length_is_trimmed_and_called_by_every_family(name: str, samples: int) -> None:
    config = parse_config(name, tomllib.loads(FAMILIES[name]))
    caller = Basecaller(config, random_network(name, FAMILIES[name]), torch.device("cpu"))
    (basecall,) = called(caller, made_read(samples, 5, config.sample_rate))
    assert max(0, samples - 8010) <= basecall.samples <= max(0, samples - 10)
    assert len(basecall.moves) == -(-basecall.samples // config.stride)
    assert len(basecall.sequence) == len(basecall.qstring) == int(basecall.moves.sum())
    assert set(basecall.sequence) <= set("ACGT")


@given(order=st.permutations(range(6)))
@settings(max_examples=10, deadline=None)
def test_a_call_does_not_depend_on_the_order_of_arrival(order: list[int]) -> None:
    caller = basecaller(chunk_samples=450, overlap=150, batch_chunks=5)
    reads = [made_read(100 + 700 * seed, seed) for seed in range(6)]
    alone = [called(caller, read)[0] for read in reads]
    for index, basecall in zip(order, called(caller, *(reads[index] for index in order)), strict=True):
        assert_same(basecall, alone[index])


def test_what_was_trimmed_is_not_called() -> None:
    caller = basecaller(chunk_samples=450, overlap=150)
    network = random_network("x", QUARTZNET, seed=3)
    trimming = Basecaller(replace(caller.config, trims=True), network, torch.device("cpu"))
    read = Read("r", np.clip(made_read(2000, 9).signal, 400, 600), Calibration(0, 0.2), 4000.0)
    peak = read.signal.copy()
    peak[200:400] = 2000
    ((_, plain),) = call(trimming, [read])
    ((_, trimmed),) = call(trimming, [replace(read, signal=peak)])
    assert plain.samples == 1990
    assert 1560 < trimmed.samples <= 1600
    assert len(trimmed.moves) == -(-trimmed.samples // 3)
