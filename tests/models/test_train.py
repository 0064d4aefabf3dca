"""A small network learns, and training goes on where it was left."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from models.config import ModelConfig, load_config
from models.errors import DeviceError, ModelFormatError, TrainingError
from models.examples import SimulatedSource
from models.network import Network
from models.precision import Precision
from models.train import Progress, Trainer, TrainSettings
from models.zoo import DEFAULT, ZOO
from reads.levels import chemistry

SAMPLES = 500
CPU = torch.device("cpu")


def small_config(features: int) -> ModelConfig:
    config = load_config(ZOO / DEFAULT)
    layers = [
        {**layer, **{key: features for key in ("size", "insize") if layer.get(key) == 96}}
        for layer in config.layers
    ]
    return replace(config, layers=tuple(layers), chunk_samples=SAMPLES)


def trainer(features: int = 8, seed: int = 1, **settings: float | Precision) -> Trainer:
    torch.manual_seed(seed)
    config = small_config(features)
    chosen = {
        "batch": 4,
        "warmup_steps": 5,
        "report_steps": 10,
        "precision": Precision.FP32,
        "seed": seed,
        **settings,
    }
    return Trainer(config, Network(list(config.layers)), TrainSettings(**chosen), CPU)


def run(one: Trainer, checkpoint: Path, until: int | None = None) -> list[Progress]:
    lines: list[Progress] = []
    source = SimulatedSource(chemistry(), SAMPLES, 3)
    stop = (lambda: one.step >= until) if until else (lambda: False)
    one.run([(1.0, source)], checkpoint, lines.append, should_stop=stop)
    return lines


def assert_same(one: Trainer, other: Trainer) -> None:
    for name, value in one.average.items():
        torch.testing.assert_close(other.average[name], value, rtol=0, atol=0)


def test_the_loss_falls(tmp_path: Path) -> None:
    lines = run(trainer(steps=40, learning_rate=2e-2), tmp_path / "checkpoint.pt")
    assert [line.step for line in lines] == [10, 20, 30, 40]
    assert lines[-1].loss < 0.9 * lines[0].loss
    assert lines[-1].done == 1.0
    assert lines[-1].learning_rate < 0.05 * max(line.learning_rate for line in lines)


def test_a_training_that_was_stopped_and_resumed_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole = trainer(steps=8)
    run(whole, tmp_path / "whole.pt")
    first = trainer(steps=8)
    run(first, tmp_path / "half.pt", until=3)
    assert (first.step, first.done) == (3, 3 / 8)
    second = trainer(steps=8, seed=1)
    second.resume(tmp_path / "half.pt")
    assert second.trained_s == first.trained_s
    assert_same(first, second)
    run(second, tmp_path / "half.pt")
    assert second.step == 8
    assert_same(whole, second)


def test_training_ends_when_its_time_is_up(tmp_path: Path) -> None:
    one = trainer(seconds=0.01)
    run(one, tmp_path / "checkpoint.pt")
    assert one.step == 1
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_only_time_spent_training_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr("models.train.time.monotonic", lambda: next(clock))
    judged: list[int] = []
    one = trainer(seconds=6.0, evaluate_s=1.5)

    def evaluate() -> None:
        judged.append(one.step)
        for _ in range(1000):
            next(clock)

    source = SimulatedSource(chemistry(), SAMPLES, 3)
    assert one.run([(1.0, source)], tmp_path / "checkpoint.pt", lambda _: None, evaluate)
    assert one.trained_s == 6.0  # a step takes one tick
    assert judged == [2, 4, 6]


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_either_precision_has_32_bit_weights(tmp_path: Path, precision: str) -> None:
    one = trainer(steps=1, precision=Precision(precision))
    before = {name: value.clone() for name, value in one.average.items()}
    run(one, tmp_path / "checkpoint.pt")
    assert all(value.dtype == torch.float32 for value in one.average.values())
    assert any((value != before[name]).any() for name, value in one.average.items())


class Ctc(nn.Module):
    """A CTC network as small as they come, with a norm."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv1d(1, 16, 19, 5, 9), nn.BatchNorm1d(16), nn.SiLU(), nn.Conv1d(16, 5, 9, 1, 4)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x).transpose(1, 2).float().log_softmax(2)


def test_a_ctc_network_learns_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = replace(small_config(8), state_len=0)
    settings = TrainSettings(
        steps=60, batch=8, warmup_steps=5, report_steps=10, learning_rate=5e-2, precision=Precision.FP32
    )
    one = Trainer(config, Ctc(), settings, CPU)
    lines: list[Progress] = []
    source = SimulatedSource(chemistry(), SAMPLES, 2)
    one.run([(1.0, source)], tmp_path / "checkpoint.pt", lines.append)
    assert lines[-1].loss < 0.95 * lines[0].loss  # it takes much longer to leave the all-blank answer
    assert int(one.average["layers.1.num_batches_tracked"]) == 60


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path: Path) -> None:
    trainer(features=16, steps=1).save(tmp_path / "checkpoint.pt")
    with pytest.raises(ModelFormatError, match=r"checkpoint.pt: a checkpoint of another architecture: size"):
        trainer(features=8, steps=1).resume(tmp_path / "checkpoint.pt")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_what_is_no_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(ModelFormatError, match=r"checkpoint.pt: not a checkpoint of a training"):
        trainer(steps=1).resume(tmp_path / "checkpoint.pt")
    with pytest.raises(ModelFormatError, match="there is no such checkpoint"):
        trainer(steps=1).resume(tmp_path / "none.pt")


def test_a_device_that_fails_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    one = trainer(steps=8)
    checkpoint = tmp_path / "checkpoint.pt"
    run(one, checkpoint, until=2)
    kept = checkpoint.read_bytes()

    class Gone(SimulatedSource):
        def draw(self, rng: object) -> None:
            raise RuntimeError("CUDA error: device-side assert triggered\nmore")

    with pytest.raises(DeviceError, match=r"^device cpu failed: CUDA error: device-side assert triggered$"):
        one.run([(1.0, Gone(chemistry(), SAMPLES, 3))], checkpoint, lambda _: None)
    assert checkpoint.read_bytes() == kept
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_losses_that_are_not_finite_end_it(tmp_path: Path) -> None:
    one = trainer(steps=8)
    one.start_from({name: value * float("nan") for name, value in one.average.items()}, tmp_path)
    with pytest.raises(TrainingError, match="no example of the batch had a finite loss"):
        run(one, tmp_path / "checkpoint.pt")
