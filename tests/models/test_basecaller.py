"""The shipped model calls simulated reads, each the same whatever its company."""

import itertools
from typing import Any

import numpy as np
import pytest
from rapidfuzz.distance import Levenshtein

from models.basecaller import Basecaller, call
from models.caller import Caller
from models.errors import SampleRateError
from models.fleet import Fleet
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
    same = [
        identity(fast.sequence, exact.sequence)
        for (_, fast), (_, exact) in zip(
            call(caller, [s.read for s in simulated]), call(precise, [s.read for s in simulated]), strict=True
        )
    ]
    # Where the network doubts, rounding decides; for the truth it is as often right as wrong.
    assert min(same) > 0.97
    assert np.mean(same) > 0.99


def test_every_core_of_a_large_machine_gets_rows_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.basecaller.usable_cores", lambda: 100)
    loaded = load(device="cpu")
    assert loaded.batch_chunks >= 100 * 4


class Device:
    """A caller whose device works on batches by itself: notes what it is asked for, in order."""

    name, sample_rate, chunk_samples, batch_chunks = "device", 4000.0, 4000, 2

    def __init__(self, caller: Basecaller, in_flight: int) -> None:
        self.in_flight = in_flight
        self.chunk, self.wait, self.stitch = caller.chunk, caller.wait, caller.stitch
        self._caller = caller
        self.asked: list[str] = []

    def score(self, batch: np.ndarray) -> Any:
        self.asked.append("score")
        return self._caller.score(batch)

    def decode(self, scores: Any) -> Any:
        self.asked.append("decode")
        return self._caller.decode(scores)


def as_called(caller: Caller, reads: list[Read]) -> list[tuple[str, str]]:
    return [(read.read_id, called.sequence) for read, called in call(caller, reads)]


@pytest.mark.parametrize("in_flight", [0, 1, 2])
def test_as_many_batches_are_in_flight_as_a_device_has_room_for(
    caller: Basecaller, simulated: list[SimulatedRead], in_flight: int
) -> None:
    reads = [s.read for s in simulated[:4]]
    device = Device(caller, in_flight)
    assert as_called(device, reads) == as_called(caller, reads)
    batches = device.asked.count("score")
    assert batches > 4
    assert device.asked.count("decode") == batches
    ahead = np.cumsum([1 if asked == "score" else -1 for asked in device.asked])
    # One more while it is scored.
    assert ahead.max() == in_flight + 1
    assert ahead[-1] == 0


def test_devices_of_a_fleet_take_turns_and_decode_what_they_scored(
    caller: Basecaller, simulated: list[SimulatedRead]
) -> None:
    reads = [s.read for s in simulated[:4]]
    devices = Device(caller, 2), Device(caller, 2)
    fleet = Fleet(devices)
    assert (fleet.in_flight, fleet.batch_chunks) == (4, 2)
    assert as_called(fleet, reads) == as_called(caller, reads)
    scored = [device.asked.count("score") for device in devices]
    assert abs(scored[0] - scored[1]) <= 1
    assert scored == [device.asked.count("decode") for device in devices]


def test_several_devices_are_loaded_as_a_fleet(simulated: list[SimulatedRead], caller: Basecaller) -> None:
    fleet = load(device="cpu, cpu")
    assert isinstance(fleet, Fleet)
    reads = [simulated[0].read]
    assert as_called(fleet, reads) == as_called(caller, reads)
