"""`fiveways models` says what a directory is, and whether it can be used, in a line and an exit status."""

import json
from pathlib import Path

import pytest
import torch
from model_directories import (
    FAMILIES,
    FLAT,
    random_network,
    save_tensor,
    write_bonito,
    write_dorado,
    write_ours,
)
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner, Result

from fiveways import app
from models.zoo import DEFAULT, names


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["models", *map(str, arguments)])


def test_the_shipped_models_are_listed_the_default_one_first() -> None:
    assert run("list").stdout.split()[0] == DEFAULT
    assert json.loads(run("list", "--json").stdout) == {"default": DEFAULT, "models": names()}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    ("write", "form"), [(write_ours, "fiveways"), (write_bonito, "bonito"), (write_dorado, "dorado")]
)
def test_every_form_of_every_family_is_shown_and_verified(
    name: str, write, form: str, tmp_path: Path
) -> None:
    directory = write(tmp_path / name, FAMILIES[name], random_network(name, FAMILIES[name]))
    shown = run("show", directory, "--json")
    assert shown.exit_code == 0, shown.stderr
    facts = json.loads(shown.stdout)
    assert (facts["name"], facts["form"]) == (name, form)
    assert facts["decoder"] == ("CTC" if "quartznet" in name else "CTC-CRF")
    assert (
        facts["stride"]
        == {"flat": 5, "typed": 6, "transformer": 6, "quartznet": 3}[name.rsplit("_", maxsplit=1)[-1]]
    )
    assert facts["flops_per_sample"] > 100
    assert facts["licence"] is None
    verified = run("verify", directory)
    assert verified.exit_code == 0, verified.stderr
    assert verified.stdout.startswith(f"{name}: ok, ")


def test_every_shipped_model_is_verified() -> None:
    for name in names():
        result = run("verify", name)
        assert result.exit_code == 0
        assert int(result.stdout.split("ok, ")[1].split()[0]) > 100


def test_a_licence_beside_the_weights_is_printed(tmp_path: Path) -> None:
    directory = write_bonito(tmp_path / "dna_x", FLAT, random_network("dna_x", FLAT))
    (directory / "LICENCE.txt").write_text("Of the maker alone.\n")
    assert json.loads(run("show", directory, "--json").stdout)["licence"] == "Of the maker alone."
    assert run("show", directory).stdout.endswith("\n\nOf the maker alone.\n")


def without_a_tensor(directory: Path) -> None:
    tensors = load_file(directory / "weights.safetensors")
    del tensors["encoder.0.conv.bias"]
    save_file(tensors, directory / "weights.safetensors")


@pytest.mark.parametrize(
    ("write", "damage", "message"),
    [
        (write_ours, without_a_tensor, "encoder.0.conv.bias (4,) is missing"),
        (
            write_bonito,
            lambda d: torch.save({"x": torch.zeros(3)}, d / "weights_2.tar"),
            "weights_2.tar: has 0 tensors of shape (4, 1, 5), and the config's layers take 1",
        ),
        (
            write_dorado,
            lambda d: save_tensor(d / "0.conv.bias.tensor", torch.zeros(5)),
            "encoder.0.conv.bias is (5,), not (4,)",
        ),
        (
            write_dorado,
            lambda d: save_tensor(d / "more.tensor", torch.zeros(5)),
            "more is of no layer of the config",
        ),
        (write_ours, lambda d: (d / "config.toml").write_text(FLAT + "[beam]\n"), "beam is not known here"),
    ],
)
@pytest.mark.parametrize("command", ["show", "verify"])
def test_what_cannot_be_used_is_one_line_and_exit_status_1(
    command: str, write, damage, message: str, tmp_path: Path
) -> None:
    directory = write(tmp_path / "dna_x", FLAT, random_network("dna_x", FLAT))
    damage(directory)
    result = run(command, directory)
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.parametrize("command", ["show", "verify"])
def test_an_unknown_model_is_exit_status_2_and_says_which_there_are(command: str) -> None:
    result = run(command, "nope")
    assert result.exit_code == 2
    assert f"fiveways models {command}: no model 'nope': it is neither shipped ({DEFAULT}" in result.stderr
    assert result.stderr.count("\n") == 1
