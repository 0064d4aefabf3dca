"""What the device engine promises, held on the CPU and, where there is one, on a GPU, with all that is fast
there.

On a machine with a GPU, `pytest tests/models/test_device.py` holds the kernels, the graphs, the streams and
16 bits.
"""

import logging
import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from model_directories import FAMILIES, random_network
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from models import zoo
from models.basecaller import Basecaller, call
from models.caller import ChunkCall
from models.config import ModelConfig, load_config, parse_config
from models.decode import chunk_calls, decode_chunk, tell
from models.device import DeviceEngine, Work, agree, batch_rows, device_engine, precision
from models.errors import DeviceError
from models.network import Network
from models.weights import load_network
from reads.read import Read
from reads.simulate import simulate_reads

CPU = torch.device("cpu")
ROWS = 4
FLAT = "dna_r9.4.1_flat"


def small(name: str, beam_width: int = 0) -> ModelConfig:
    config = parse_config(name, tomllib.loads(FAMILIES[name]))
    # Random networks emit no base where staying scores well.
    return replace(config, beam_width=beam_width, chunk_samples=480, blank_score=-1.0)


def signal(rows: int, seed: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 1, (rows, 480)).astype(np.float32)


def plain_engine(network: nn.Module, config: ModelConfig, **options: Any) -> DeviceEngine:
    decoders = options.pop("decoders", [partial(tell, config=config)])
    return DeviceEngine(network, decoders, CPU, rows=ROWS, samples=480, **options)


Open = Callable[[nn.Module, ModelConfig], DeviceEngine]


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> torch.device:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("this machine has no CUDA GPU")
    torch.set_num_threads(1)
    return torch.device(request.param)


@pytest.fixture
def engine(device: torch.device) -> Open:
    """Opens an engine in float32, with whatever is fast on the device."""
    return lambda network, config: device_engine(network, config, device, precise=True, rows=ROWS)


def calls_of(engine: DeviceEngine, batch: NDArray[np.float32], config: ModelConfig) -> list[ChunkCall]:
    return chunk_calls(engine.told(engine.launch(batch)), config)


@torch.inference_mode()
def reference_calls(network: Network, batch: NDArray[np.float32], config: ModelConfig) -> list[ChunkCall]:
    scores = network(torch.from_numpy(batch)[:, None]).float()
    return [decode_chunk(chunk, config) for chunk in scores.numpy()]


def assert_alike(found: Sequence[ChunkCall], expected: Sequence[ChunkCall]) -> None:
    """The same bases at the same steps, but for what hangs on the last bit of scores."""
    assert len(found) == len(expected)
    moves, other_moves = (np.stack([one.moves for one in calls]) for calls in (found, expected))
    bases, other_bases = (np.stack([one.bases for one in calls]) for calls in (found, expected))
    phred, other_phred = (np.stack([one.phred for one in calls]) for calls in (found, expected))
    same = (moves == other_moves) & (bases == other_bases)
    assert same.mean() > 0.99
    assert np.abs(phred - other_phred)[same].mean() < 0.05


@pytest.mark.parametrize("beam_width", [0, 4])
@pytest.mark.parametrize("name", FAMILIES)
def test_batches_are_called_as_their_chunks_are_one_by_one(engine: Open, name: str, beam_width: int) -> None:
    config, network = small(name, beam_width), random_network(name, FAMILIES[name])
    batch = signal(ROWS)
    expected = reference_calls(network, batch, config)
    assert sum(int(one.moves.sum()) for one in expected) > 10
    assert_alike(calls_of(engine(network, config), batch, config), expected)


@pytest.mark.parametrize("count", [1, ROWS - 1, ROWS, ROWS + 1, 3 * ROWS + 2])
def test_a_row_is_told_alike_whatever_its_company(engine: Open, count: int) -> None:
    config = small(FLAT)
    opened = engine(random_network(FLAT, FAMILIES[FLAT]), config)
    batch = signal(3 * ROWS + 2)
    everything = opened.told(opened.launch(batch))
    for alone, together in zip(opened.told(opened.launch(batch[:count])), everything, strict=True):
        np.testing.assert_array_equal(alone, together[:count])


def test_what_is_told_outlives_the_batches_after_it(engine: Open) -> None:
    config = small(FLAT)
    opened = engine(random_network(FLAT, FAMILIES[FLAT]), config)
    batches = [signal(ROWS, seed) for seed in range(5)]
    expected = [opened.told(opened.launch(batch)) for batch in batches]
    flights = [opened.launch(batch) for batch in batches]
    for flight, told in reversed(list(zip(flights, expected, strict=True))):
        opened.wait(flight)
        for one, other in zip(opened.told(flight), told, strict=True):
            np.testing.assert_array_equal(one, other)


def test_no_launch_waits_for_the_device(device: torch.device, engine: Open) -> None:
    if device.type != "cuda":
        pytest.skip("only CUDA tells who waits for it")
    config = small(FLAT)
    opened = engine(random_network(FLAT, FAMILIES[FLAT]), config)
    opened.told(opened.launch(signal(ROWS)))
    torch.cuda.set_sync_debug_mode("error")
    try:
        flights = [opened.launch(signal(ROWS, seed)) for seed in range(4)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for flight in flights:
        opened.told(flight)


def test_on_a_gpu_the_fast_ways_are_taken(device: torch.device, caplog: pytest.LogCaptureFixture) -> None:
    if device.type != "cuda":
        pytest.skip("there is nothing faster to take")
    config = load_config(zoo.find(zoo.DEFAULT))
    network = load_network(zoo.find(zoo.DEFAULT), config.layers)
    with caplog.at_level(logging.WARNING):
        opened = device_engine(network, config, device, precise=False)
    assert caplog.messages == []
    assert all(lane.recorded for lane in opened._lanes)
    assert opened.rows == batch_rows(config)


# Of 16 bits.


@pytest.fixture(scope="module")
def reads() -> list[Read]:
    return [one.read for one in islice(simulate_reads(seed=8, mean_bases=400), 4)]


def test_16_bits_call_what_32_call(device: torch.device, reads: list[Read]) -> None:
    directory = zoo.find(zoo.DEFAULT)
    config = load_config(directory)
    exact = Basecaller(config, load_network(directory, config.layers), CPU, precise=True)
    half = Basecaller(config, load_network(directory, config.layers), CPU, precise=True)
    half._engine = DeviceEngine(
        load_network(directory, config.layers),
        [partial(tell, config=config)],
        device,
        rows=ROWS,
        samples=config.chunk_samples,
        kind=torch.float16,
    )
    edits, bases = 0, 0
    for (_, one), (_, other) in zip(call(half, reads), call(exact, reads), strict=True):
        edits += Levenshtein.distance(one.sequence, other.sequence)
        bases += len(other.sequence)
        assert abs(one.mean_q - other.mean_q) < 0.1
    assert bases > 900
    assert edits < 0.01 * bases


def test_16_bits_are_for_devices_with_matrix_units(monkeypatch: pytest.MonkeyPatch) -> None:
    assert precision(CPU) == torch.float32
    for capability, kind in (((9, 0), torch.float16), ((7, 0), torch.float16), ((6, 1), torch.float32)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        assert precision(torch.device("cuda:0")) == kind


# Of what is asked of a device, on one that evaluates nothing: an operation that needs a value fails there.


class Watch(TorchDispatchMode):
    """Counts operations, and those that a tensor of the host takes part in."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.on_host: Counter[str] = Counter()

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = operation(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
        self.count += 1
        self.on_host[str(operation)] += any(tensor.device.type == "cpu" for tensor in tensors)
        return result


@pytest.mark.parametrize("beam_width", [0, 4])
@pytest.mark.parametrize("name", FAMILIES)
def test_between_signal_and_told_nothing_needs_the_host(name: str, beam_width: int) -> None:
    config = small(name, beam_width)
    network = random_network(name, FAMILIES[name]).half().to("meta")
    with torch.inference_mode(), Watch() as watch:
        tell(network(torch.empty(ROWS, 1, 180, device="meta", dtype=torch.float16)), config)
    assert watch.count > 0
    assert +watch.on_host == Counter()


def test_the_batch_of_a_large_lattice_is_smaller() -> None:
    config = load_config(zoo.find(zoo.DEFAULT))
    assert batch_rows(config) == 1024
    assert batch_rows(replace(config, state_len=5, chunk_samples=10_000, stride=6)) == 128
    assert batch_rows(replace(config, state_len=0, batch_chunks=2000)) == 2000


# Of fast ways that fail.


@pytest.fixture
def case() -> tuple[Network, ModelConfig, NDArray[np.float32], list[ChunkCall]]:
    torch.set_num_threads(1)
    config, network = small(FLAT), random_network(FLAT, FAMILIES[FLAT])
    batch = signal(2 * ROWS + 1)
    return network, config, batch, reference_calls(network, batch, config)


Case = tuple[Network, ModelConfig, NDArray[np.float32], list[ChunkCall]]


def test_what_was_recorded_is_replayed(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    network, config, batch, expected = case
    replays: list[str] = []

    def record(work: Work, stream: object, pool: object) -> Work:
        def replay() -> None:
            replays.append(work.__name__)
            work()

        return replay

    engine = plain_engine(network, config, record=record)
    replays.clear()
    assert_alike(calls_of(engine, batch, config), expected)
    assert replays == ["evaluate", "tell"] * 3
    assert caplog.messages == []


def fails(work: Work, stream: object, pool: object) -> Work:
    raise RuntimeError("operation not permitted when stream is capturing\nand more")


def forgets(work: Work, stream: object, pool: object) -> Work:
    return lambda: None


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (fails, "RuntimeError: operation not permitted when stream is capturing"),
        (forgets, "its replay gives other results"),
    ],
)
def test_what_cannot_be_recorded_is_done_anew_each_time(
    case: Case, caplog: pytest.LogCaptureFixture, record: Any, why: str
) -> None:
    network, config, batch, expected = case
    engine = plain_engine(network, config, record=record)
    assert caplog.messages == [f"cpu: the network is not recorded as a graph: {why}"]
    assert_alike(calls_of(engine, batch, config), expected)


def breaks(scores: Tensor) -> Any:
    raise TypeError("no kernel for this device")


def tells_nonsense(scores: Tensor, config: ModelConfig) -> Any:
    moves, bases, phred = tell(scores, config)
    return moves, (bases + 1) % 4, phred


@pytest.mark.parametrize(
    ("fast", "why"),
    [
        (breaks, "TypeError: no kernel for this device"),
        (partial(tells_nonsense, config=small(FLAT)), "what they tell is not what plain torch tells"),
    ],
)
def test_kernels_that_fail_or_tell_otherwise_are_not_used(
    case: Case, caplog: pytest.LogCaptureFixture, fast: Any, why: str
) -> None:
    network, config, batch, expected = case
    engine = plain_engine(network, config, decoders=[fast, partial(tell, config=config)])
    assert caplog.messages == [f"cpu: decoding kernels are not used: {why}"]
    assert_alike(calls_of(engine, batch, config), expected)


def test_kernels_that_tell_the_same_are_used(case: Case) -> None:
    network, config, batch, expected = case
    used: list[int] = []

    def fast(scores: Tensor) -> Any:
        used.append(len(scores))
        return tell(scores, config)

    engine = plain_engine(network, config, decoders=[fast, breaks_if_more_than_a_sample(config)])
    used.clear()
    assert_alike(calls_of(engine, batch, config), expected)
    assert used == [ROWS] * 3


def breaks_if_more_than_a_sample(config: ModelConfig) -> Any:
    calls: list[int] = []

    def plain(scores: Tensor) -> Any:
        calls.append(len(scores))
        assert len(calls) == 1, "the plain way is for comparison only"
        return tell(scores, config)

    return plain


class Memory(nn.Module):
    """A network on a device with memory for so many rows, of which more is taken while it works."""

    def __init__(self, network: nn.Module, rows: int) -> None:
        super().__init__()
        self.network, self.rows = network, rows

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        out: Tensor = self.network(x)
        return out


def test_a_batch_that_does_not_fit_is_halved_at_the_start(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    network, config, batch, expected = case
    engine = plain_engine(Memory(network, 1), config)
    assert engine.rows == 1
    assert caplog.messages == [
        "cpu: too little memory for 4 chunks at once: 2",
        "cpu: too little memory for 2 chunks at once: 1",
    ]
    assert_alike(calls_of(engine, batch, config), expected)


def test_memory_that_goes_later_costs_speed_and_no_calls(case: Case) -> None:
    network, config, batch, expected = case
    memory = Memory(network, ROWS)
    engine = plain_engine(memory, config)
    before = engine.launch(batch)
    memory.rows = 2
    assert_alike(calls_of(engine, batch, config), expected)
    assert engine.rows == 2
    assert_alike(chunk_calls(engine.told(before), config), expected)


def test_a_device_without_memory_for_one_chunk_says_so(case: Case) -> None:
    network, config, _, _ = case
    with pytest.raises(DeviceError, match=r"device cpu failed: CUDA out of memory"):
        plain_engine(Memory(network, 0), config)


class Going(nn.Module):
    """A network on a device that goes away."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.is_gone = network, False

    def forward(self, x: Tensor) -> Tensor:
        if self.is_gone:
            raise RuntimeError("CUDA error: unspecified launch failure\nCompile with ...")
        out: Tensor = self.network(x)
        return out


def test_a_device_that_goes_is_one_clear_error(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    network, config, batch, expected = case
    going = Going(network)
    engine = plain_engine(going, config)
    flights = engine.launch(batch)
    going.is_gone = True
    with pytest.raises(DeviceError, match=r"device cpu failed: CUDA error: unspecified launch failure$"):
        engine.launch(batch)

    def lost(event: object) -> None:
        raise RuntimeError("CUDA error: the launch timed out and was terminated")

    with monkeypatch.context() as patch:
        patch.setattr(torch.cpu.Event, "synchronize", lost)
        for ask in (engine.wait, engine.told):
            with pytest.raises(DeviceError, match="timed out"):
                ask(flights)
    assert_alike(chunk_calls(engine.told(flights), config), expected)


def test_a_bug_is_not_taken_for_a_device_that_fails(case: Case) -> None:
    network, config, batch, _ = case
    engine = plain_engine(network, config)
    with pytest.raises(RuntimeError, match="size of tensor"):
        engine.launch(batch[:, :100])


@pytest.mark.parametrize(
    ("off", "same"),
    [([0.0], True), ([0.05, 0.05], True), ([0.2], True), ([0.2, 0.2], False), ([float("nan")] * 2, False)],
)
def test_ways_agree_that_tell_nearly_the_same_where_they_tell_anything(off: list[float], same: bool) -> None:
    expected = torch.cat([torch.full((50,), 9.0), torch.zeros(1000)])
    found = expected.clone()
    found[: len(off)] += torch.tensor(off)
    assert agree((found,), (expected,)) is same


# Of a basecaller on it.


def on_device(device: torch.device, *, precise: bool) -> Basecaller:
    """The shipped model on an engine, on the CPU as well."""
    directory = zoo.find(zoo.DEFAULT)
    config = load_config(directory)
    caller = Basecaller(config, load_network(directory, config.layers), CPU, precise=True)
    network = load_network(directory, config.layers)
    caller._engine = device_engine(network, config, device, precise=precise, rows=ROWS)
    return caller


def test_reads_are_called_in_order_as_on_the_cpu(device: torch.device, reads: list[Read]) -> None:
    caller = on_device(device, precise=True)
    assert (caller.batch_chunks, caller.in_flight) == (ROWS, 2)
    found = list(call(caller, reads))
    assert [read.read_id for read, _ in found] == [read.read_id for read in reads]
    for (_, one), (_, other) in zip(found, call(zoo.load(device="cpu", precise=True), reads), strict=True):
        assert Levenshtein.normalized_similarity(one.sequence, other.sequence) > 0.999


def test_a_read_is_called_alike_alone_and_in_company(device: torch.device, reads: list[Read]) -> None:
    caller = on_device(device, precise=False)
    together = [basecall for _, basecall in call(caller, reads)]
    for read, company in zip(reads, together, strict=True):
        ((_, alone),) = call(caller, [read])
        assert (alone.sequence, alone.qstring) == (company.sequence, company.qstring)
