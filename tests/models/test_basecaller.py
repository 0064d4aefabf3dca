"""The shipped model calls simulated reads, each the same whatever its company."""

import itertools

import numpy as np
import pytest
import torch
from rapidfuzz.distance import Levenshtein

from models.basecaller import Basecaller, call
from models.errors import SampleRateError
from models.network import Network
from models.zoo import load
from reads.read import Calibration, Read
from reads.simulate import SimulatedRead, simulate_reads


@pytest.fixture(scope="module")
def caller() -> Basecaller:
    loaded = load(device="cpu")
    assert isinstance(loaded, Basecaller)
    return loaded


@pytest.fixture(scope="module")
def simulated() -> list[SimulatedRead]:
    return list(itertools.islice(simulate_reads(seed=20, mean_bases=1500), 12))


def identity(called: str, truth: str) -> float:
    """Matches over alignment columns of the best global alignment."""
    edits = Levenshtein.editops(called, truth)
    insertions = sum(edit.tag == "delete" for edit in edits)
    return 1 - len(edits) / (len(truth) + insertions)


def test_simulated_reads_are_called_well_above_chance(
    caller: Basecaller, simulated: list[SimulatedRead]
) -> None:
    identities, chance = [], []
    for truth, (_, called) in zip(simulated, call(caller, [s.read for s in simulated]), strict=True):
        # The lead-in before the strand has no truth: bases called on it are not counted.
        steps = np.flatnonzero(called.moves) * called.stride
        strand = called.sequence[int((steps < truth.base_starts[0]).sum()) :]
        identities.append(identity(strand, truth.sequence))
        chance.append(identity(strand, truth.sequence[::-1]))
    assert np.median(chance) < 0.6
    assert np.median(identities) > 0.79


def test_a_call_does_not_depend_on_its_company(caller: Basecaller, simulated: list[SimulatedRead]) -> None:
    reads = [s.read for s in simulated]
    together = {read.read_id: called for read, called in call(caller, reads)}
    for read in (reads[0], reads[5], reads[11]):
        ((_, alone),) = call(caller, [read])
        assert alone.sequence == together[read.read_id].sequence
        assert alone.qstring == together[read.read_id].qstring
        np.testing.assert_array_equal(alone.moves, together[read.read_id].moves)


def test_calls_come_in_the_order_of_reads(caller: Basecaller, simulated: list[SimulatedRead]) -> None:
    reads = [s.read for s in simulated]
    assert [read.read_id for read, _ in call(caller, reads)] == [read.read_id for read in reads]


@pytest.mark.parametrize("samples", [0, 1, 2, 17, 3999, 4000, 4001, 9000])
def test_any_length_is_called(caller: Basecaller, samples: int) -> None:
    rng = np.random.default_rng(samples)
    signal = rng.integers(300, 700, samples).astype(np.int16)
    ((_, called),) = call(caller, [Read("any", signal, Calibration(0, 1), 4000.0)])
    assert called.samples == samples
    assert len(called.moves) == -(-samples // caller.config.stride)
    assert len(called.sequence) == len(called.qstring) == int(called.moves.sum())
    assert set(called.sequence) <= set("ACGT")


def test_calibration_does_not_change_a_call(caller: Basecaller, simulated: list[SimulatedRead]) -> None:
    read = simulated[0].read
    other = Read("other", read.signal, Calibration(99.0, 0.5), read.sample_rate)
    first, second = (called.sequence for _, called in call(caller, [read, other]))
    assert first == second


def test_another_sample_rate_is_refused_with_both_named(caller: Basecaller) -> None:
    read = Read("fast", np.zeros(10, np.int16), Calibration(0, 1), 5000.0)
    with pytest.raises(SampleRateError, match=r"fast was sampled at 5000 Hz, model .* takes 4000 Hz"):
        list(call(caller, [read]))


def test_the_fast_way_calls_what_float32_calls(caller: Basecaller, simulated: list[SimulatedRead]) -> None:
    precise = load(device="cpu", precise=True)
    for (_, fast), (_, exact) in zip(
        call(caller, [s.read for s in simulated]), call(precise, [s.read for s in simulated]), strict=True
    ):
        assert identity(fast.sequence, exact.sequence) > 0.99


def test_every_core_of_a_large_machine_gets_rows_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.basecaller.usable_cores", lambda: 100)
    loaded = load(device="cpu")
    assert loaded.batch_chunks >= 100 * 4


def test_scores_are_returned_when_the_device_is_done(
    caller: Basecaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited_for: list[torch.device] = []

    class Module:
        synchronize = staticmethod(waited_for.append)

    # A device that evaluates nothing: its shapes are those of any other.
    meta = torch.device("meta")
    monkeypatch.setattr(torch, "get_device_module", lambda device: Module)
    lazy = Basecaller(caller.config, Network(list(caller.config.layers)), meta)
    batch = np.zeros((3, caller.chunk_samples), np.float32)
    scores = lazy.score(batch)
    assert scores.shape == caller.score(batch).shape
    assert (scores.device, waited_for) == (meta, [meta])
