"""Models are found by name or path, and a directory that does not fit says what is wrong."""

import shutil
import tomllib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.errors import ModelError, ModelFormatError, UnknownModelError
from models.null import NullCaller
from models.zoo import DEFAULT, ZOO, load, names


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ZOO / DEFAULT, tmp_path / "mine"))


def test_every_shipped_model_loads_under_its_name() -> None:
    assert DEFAULT in names()
    for name in names():
        assert load(name, "cpu").name == name


def test_every_shipped_config_says_how_reads_are_trimmed_and_decoded() -> None:
    """A silent one is trimmed and decoded as by Dorado: not as ours are trained and their Q fitted."""
    for name in names():
        said = tomllib.loads((ZOO / name / "config.toml").read_text())["basecaller"]
        assert {"trim", "beam_width"} <= said.keys()


def test_a_directory_loads_under_its_own_name(directory: Path) -> None:
    assert load(str(directory), "cpu").name == "mine"


def test_models_load_is_the_way_in() -> None:
    import models  # noqa: PLC0415

    assert models.load is load
    with pytest.raises(AttributeError, match="module 'models' has no attribute 'lode'"):
        _ = models.lode


def test_null_is_always_there() -> None:
    assert isinstance(load("null"), NullCaller)


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(UnknownModelError, match=f"no model 'nope': .*{DEFAULT}"):
        load("nope")


def test_a_missing_device_is_an_error() -> None:
    count = torch.cuda.device_count()
    with pytest.raises(ModelError, match=f"sees {count} CUDA devices"):
        load(DEFAULT, f"cuda:{count}")
    with pytest.raises(ModelError, match="'gpu0' is not one of auto, cpu, cuda"):
        load(DEFAULT, "gpu0")
    with pytest.raises(ModelError, match="'mps' is not one of auto, cpu, cuda"):
        load(DEFAULT, "mps")
    with pytest.raises(ModelError, match=f"'cuda:{count}' is not there"):
        load(DEFAULT, f"cpu,cuda:{count}")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: t.pop("encoder.4.rnn.bias_hh_l0"), r"encoder.4.rnn.bias_hh_l0 \(384,\) is missing"),
        (
            lambda t: t.update({"encoder.0.conv.bias": torch.zeros(3)}),
            r"encoder.0.conv.bias is \(3,\), not \(4,\)",
        ),
        (lambda t: t.update({"encoder.99.x": torch.zeros(1)}), "encoder.99.x is of no layer"),
    ],
)
def test_weights_that_do_not_fit_are_named(directory: Path, damage, message: str) -> None:
    path = directory / "weights.safetensors"
    tensors = load_file(path)
    damage(tensors)
    save_file(tensors, path)
    with pytest.raises(ModelFormatError, match=message):
        load(str(directory), "cpu")


def test_weights_that_are_not_safetensors_are_refused(directory: Path) -> None:
    (directory / "weights.safetensors").write_bytes(b"\x80\x04pickle, perhaps")
    with pytest.raises(ModelFormatError, match="not a safetensors file"):
        load(str(directory), "cpu")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[encoder]", "[encoder", "not TOML"),
        ("features = 96", "", "features is missing"),
        ('rnn_type = "lstm"', 'rnn_type = "gru"', "encoder.rnn_type: Input should be 'lstm', not 'gru'"),
        ('strategy = "med_mad"', 'strategy = "magic"', "scaling.strategy: Input should be .*, not 'magic'"),
    ],
)
def test_a_config_that_cannot_be_used_is_named(directory: Path, old: str, new: str, message: str) -> None:
    path = directory / "config.toml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ModelFormatError, match=message):
        load(str(directory), "cpu")
