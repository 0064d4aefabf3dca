"""A small network learns, and training goes on where it was left."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.config import load_config
from models.errors import ModelFormatError
from models.examples import SimulatedSource
from models.train import Progress, Trainer, TrainSettings
from models.zoo import DEFAULT, ZOO
from reads.levels import chemistry

SAMPLES = 500


def trainer(seconds: float = 3600.0, features: int = 8, **settings: float) -> Trainer:
    config = load_config(ZOO / DEFAULT)
    layers = [
        {**layer, **{key: features for key in ("size", "insize") if layer.get(key) == 96}}
        for layer in config.layers
    ]
    config = replace(config, layers=tuple(layers), chunk_samples=SAMPLES)
    source = SimulatedSource(chemistry(), SAMPLES, config.state_len)
    chosen = {"batch": 8, "streams": 2, "warmup_steps": 5, **settings}
    return Trainer(config, [(1.0, source)], TrainSettings(seconds=seconds, **chosen))


class EnoughError(Exception):
    """Ends a training from its report."""


def train_until(one: Trainer, checkpoint: Path, steps: int) -> list[Progress]:
    lines: list[Progress] = []

    def report(progress: Progress) -> None:
        lines.append(progress)
        if progress.step >= steps:
            raise EnoughError

    with pytest.raises(EnoughError):
        one.run(checkpoint, report, every=10)
    return lines


def test_the_loss_falls(tmp_path: Path) -> None:
    lines = train_until(trainer(learning_rate=1e-2), tmp_path / "checkpoint.pt", 60)
    assert [line.step for line in lines] == [10, 20, 30, 40, 50, 60]
    assert lines[-1].loss < 0.9 * lines[0].loss


def test_a_checkpoint_brings_everything_back(tmp_path: Path) -> None:
    first = trainer()
    train_until(first, tmp_path / "unused.pt", 10)
    first.save(tmp_path / "checkpoint.pt")
    second = trainer(seed=2)
    second.resume(tmp_path / "checkpoint.pt")
    for name, value in first.network.state_dict().items():
        torch.testing.assert_close(second.network.state_dict()[name], value, rtol=0, atol=0)
        torch.testing.assert_close(second.average[name], first.average[name], rtol=0, atol=0)
    lines = train_until(second, tmp_path / "unused.pt", 20)
    assert lines[0].step == 20
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_training_ends_with_a_checkpoint_when_its_time_is_up(tmp_path: Path) -> None:
    trainer(seconds=0.01).run(tmp_path / "checkpoint.pt", lambda progress: None)
    assert (tmp_path / "checkpoint.pt").is_file()


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path: Path) -> None:
    trainer(features=16).save(tmp_path / "checkpoint.pt")
    with pytest.raises(ModelFormatError, match=r"checkpoint.pt: a checkpoint of another architecture: size"):
        trainer(features=8).resume(tmp_path / "checkpoint.pt")
