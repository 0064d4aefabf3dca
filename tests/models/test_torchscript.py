"""One tensor is read out of an archive, and what is more than a tensor is refused."""

import os
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_directories import save_tensor

from models.errors import ModelFormatError
from models.torchscript import read_tensor


@pytest.mark.parametrize(
    "value",
    [
        torch.randn(3, 4),
        torch.randn(5, 2, 3).half(),
        torch.randn(4).bfloat16(),
        torch.tensor(2.5),
        torch.tensor(7),
        torch.randn(6, 4).T,
        torch.randn(10)[3:8],
    ],
    ids=["float", "half", "bfloat16", "scalar", "integer", "transposed", "part"],
)
def test_what_was_saved_is_read(value: torch.Tensor, tmp_path: Path) -> None:
    save_tensor(tmp_path / "x.tensor", value)
    read = read_tensor(tmp_path / "x.tensor")
    assert read.dtype == value.dtype
    assert torch.equal(read, value)


def rewritten(path: Path, member: str, data: bytes) -> Path:
    """Replace one file of an archive."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, data if name.endswith(member) else part)
    return path


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (b"\x80\x02cos\nsystem\n(X\x05\x00\x00\x00touchtR.", "its pickle calls os system, which is refused"),
        (b"\x80\x02(X\x05\x00\x00\x00touchios\nsystem\n.", "opcode INST, which describes no tensor"),
        (b"\x80\x02c__builtin__\neval\n(X\x01\x00\x00\x001tR.", "calls __builtin__ eval, which is refused"),
        (b"\x80\x02}.", "it holds 0 tensors"),
        (b"\x80\x02.", "not one tensor"),
        (b"", "not one tensor"),
        (b"\x80\x02R.", "not one tensor"),
    ],
)
def test_a_malicious_or_broken_archive_is_refused_and_not_run(
    pickled: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(_: str) -> int:
        raise AssertionError("the pickle was run")

    monkeypatch.setattr(os, "system", run)
    save_tensor(tmp_path / "x.tensor", torch.randn(3))
    with pytest.raises(ModelFormatError, match=message):
        read_tensor(rewritten(tmp_path / "x.tensor", "data.pkl", pickled))


def test_a_tensor_that_reaches_past_its_numbers_is_refused(tmp_path: Path) -> None:
    save_tensor(tmp_path / "x.tensor", torch.randn(12))
    with zipfile.ZipFile(tmp_path / "x.tensor") as archive:
        pickled = archive.read("x/data.pkl")
    larger = pickled.replace(b"K\x0c\x85", b"K\x7f\x85")  # shape (12,) -> (127,)
    if larger == pickled:  # as torch writes a tuple of one
        larger = pickled.replace(b"(K\x0ct", b"(K\x7ft")
    assert larger != pickled
    with pytest.raises(ModelFormatError, match=r"shape \(127,\) reaches past the 12 numbers"):
        read_tensor(rewritten(tmp_path / "x.tensor", "data.pkl", larger))


def test_numbers_that_are_missing_are_missed(tmp_path: Path) -> None:
    save_tensor(tmp_path / "x.tensor", torch.randn(12))
    with pytest.raises(ModelFormatError, match="7 bytes are not 12 numbers"):
        read_tensor(rewritten(tmp_path / "x.tensor", "data/0", b"1234567"))


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match=r"x\.tensor: cannot be read: No such file"):
        read_tensor(tmp_path / "x.tensor")


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_is_an_error_or_the_tensor(data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "x.tensor"
    save_tensor(path, torch.arange(12.0).reshape(3, 4))
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))] if data.draw(st.booleans()) else whole)
    try:
        read = read_tensor(path)
    except ModelFormatError:
        return
    assert read.numel() <= 12
