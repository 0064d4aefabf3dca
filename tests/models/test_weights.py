"""Weights of every form are read into the same network, without running anything of theirs."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from model_directories import (
    FAMILIES,
    FLAT,
    TRANSFORMER,
    TYPED,
    random_network,
    save_tensor,
    write_bonito,
    write_dorado,
    write_ours,
)

from models.config import load_config
from models.errors import ModelFormatError
from models.network import Network
from models.weights import Form, form_of, load_network


def loaded(directory: Path) -> Network:
    return load_network(directory, load_config(directory).layers)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    ("write", "form"), [(write_ours, Form.OURS), (write_bonito, Form.BONITO), (write_dorado, Form.DORADO)]
)
def test_a_network_survives_each_form(name: str, write, form: Form, tmp_path: Path) -> None:
    network = random_network(name, FAMILIES[name])
    directory = write(tmp_path / name, FAMILIES[name], network)
    assert form_of(directory) is form
    signal = torch.randn(2, 1, 240)
    with torch.inference_mode():
        expected = network(signal)
        assert expected.std() > 0.01
        torch.testing.assert_close(loaded(directory)(signal), expected, rtol=0, atol=1e-5)


def test_the_highest_checkpoint_is_taken(tmp_path: Path) -> None:
    network = random_network("dna_x", FLAT, seed=1)
    for number, seed in ((9, 2), (10, 1), (2, 3)):
        write_bonito(tmp_path, FLAT, random_network("dna_x", FLAT, seed=seed), number)
    for name, value in loaded(tmp_path).state_dict().items():
        torch.testing.assert_close(value, network.state_dict()[name])


def test_bonitos_tensors_go_by_shape_and_order_and_not_by_name(tmp_path: Path) -> None:
    network = random_network("dna_x", TYPED)
    directory = write_bonito(tmp_path / "dna_x", TYPED, network)
    state = torch.load(directory / "weights_1.tar", weights_only=True)
    assert not state.keys() & network.state_dict().keys()
    # Shapes may come in any order: only tensors of one shape must come in that of the layers.
    by_shape = dict(sorted(state.items(), key=lambda item: tuple(item[1].shape)))
    torch.save(by_shape, directory / "weights_2.tar")
    signal = torch.randn(1, 1, 120)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(directory)(signal), network(signal), rtol=0, atol=1e-5)


def test_dorados_layers_are_numbered_without_clamps(tmp_path: Path) -> None:
    directory = write_dorado(tmp_path / "dna_x", TYPED, random_network("dna_x", TYPED))
    names = {path.name for path in directory.glob("*.tensor")}
    assert {"0.conv.weight.tensor", "2.conv.bias.tensor", "4.rnn.weight_ih_l0.tensor"} <= names
    assert {"9.linear.weight.tensor", "10.linear.weight.tensor"} <= names


def test_dorados_transformer_may_leave_its_deepnorm_to_the_config(tmp_path: Path) -> None:
    network = random_network("dna_x", TRANSFORMER)
    directory = write_dorado(tmp_path / "dna_x", TRANSFORMER, network)
    said = list(directory.glob("*deepnorm_alpha.tensor"))
    assert len(said) == 3
    for path in said:
        path.unlink()
    signal = torch.randn(1, 1, 240)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(directory)(signal), network(signal), rtol=0, atol=1e-5)


class Malice:
    """What a pickle can carry: a command, run by whoever unpickles it."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.witness}",)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_malicious_checkpoint_is_refused_and_not_run(how: str, tmp_path: Path) -> None:
    directory = write_bonito(tmp_path / "dna_x", FLAT, random_network("dna_x", FLAT))
    witness = tmp_path / "witness"
    state = {"encoder.0.conv.weight": Malice(witness)}
    path = directory / "weights_2.tar"
    if how == "torch":
        torch.save(state, path)
    else:
        path.write_bytes(pickle.dumps(state, protocol=2))
    with pytest.raises(ModelFormatError, match=r"weights_2\.tar: refused, it is not tensors alone: .*system"):
        loaded(directory)
    assert not witness.exists()


@pytest.mark.parametrize("damage", [b"", b"no", b"PK\x03\x04 but no zip", bytes(1000)])
def test_a_checkpoint_that_is_none_is_one_line(damage: bytes, tmp_path: Path) -> None:
    directory = write_bonito(tmp_path / "dna_x", FLAT, random_network("dna_x", FLAT))
    (directory / "weights_2.tar").write_bytes(damage)
    with pytest.raises(ModelFormatError, match=r"weights_2\.tar: ") as error:
        loaded(directory)
    assert "\n" not in str(error.value)


def test_a_table_of_other_things_is_no_state_dict(tmp_path: Path) -> None:
    directory = write_bonito(tmp_path / "dna_x", FLAT, random_network("dna_x", FLAT))
    torch.save({"epoch": 3}, directory / "weights_2.tar")
    with pytest.raises(ModelFormatError, match="not a state_dict, a table of tensors"):
        loaded(directory)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.update({"more": torch.zeros(7, 7)}),
            r"1 tensors of shape \(7, 7\), .* take 0, like more",
        ),
        (
            lambda s: s.pop("module.0"),
            r"0 tensors of shape \(4, 1, 5\), .* take 1, like encoder\.0\.conv\.weight",
        ),
        (
            lambda s: s.update({"module.1": torch.zeros(5)}),
            r"0 tensors of shape \(4,\), .* take 1, like encoder\.0\.conv\.bias",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_named(change, message: str, tmp_path: Path) -> None:
    directory = write_bonito(tmp_path / "dna_x", FLAT, random_network("dna_x", FLAT))
    state = torch.load(directory / "weights_1.tar", weights_only=True)
    change(state)
    torch.save(state, directory / "weights_1.tar")
    with pytest.raises(ModelFormatError, match=message):
        loaded(directory)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: (d / "2.conv.bias.tensor").unlink(), r"encoder\.2\.conv\.bias \(16,\) is missing"),
        (
            lambda d: save_tensor(d / "2.conv.bias.tensor", torch.zeros(3)),
            r"encoder\.2\.conv\.bias is \(3,\), not \(16,\)",
        ),
        (
            lambda d: save_tensor(d / "11.linear.weight.tensor", torch.zeros(3)),
            r"11\.linear\.weight is of no layer of the config",
        ),
    ],
)
def test_dorado_files_that_do_not_fit_are_named(change, message: str, tmp_path: Path) -> None:
    directory = write_dorado(tmp_path / "dna_x", FLAT, random_network("dna_x", FLAT))
    change(directory)
    with pytest.raises(ModelFormatError, match=message):
        loaded(directory)


def test_a_directory_without_weights_says_which_there_could_be(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match=r"no weights\.safetensors, no weights_N\.tar \(Bonito\)"):
        form_of(tmp_path)
