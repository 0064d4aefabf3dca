import subprocess
from pathlib import Path

import pytest
import typer

from benchmarks import environments


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where environments are made, and let there be two peers: one of nothing, one that is nowhere."""
    nothing = tmp_path / "nothing.txt"
    nothing.touch()
    monkeypatch.setattr(environments, "FOLDER", tmp_path / "peers")
    requirements = {"made": ("--requirement", str(nothing)), "nowhere": ("--no-index", "fiveways-nowhere")}
    monkeypatch.setattr(environments, "REQUIREMENTS", requirements)
    return tmp_path / "peers"


def test_an_environment_is_its_own_sees_the_projects_packages_and_is_none_once_the_pins_are_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    assert environments.python("made") is None
    environments.install("made")
    python = environments.python("made")
    assert python
    said = "import sys, importlib.util; print(sys.prefix, importlib.util.find_spec('torch') is not None)"
    ran = subprocess.run([python, "-c", said], check=True, capture_output=True, text=True)
    assert ran.stdout.split() == [str(folder / "made"), "True"]
    monkeypatch.setattr(environments, "REQUIREMENTS", {"made": ("made==2",)})
    assert environments.python("made") is None


def test_what_cannot_be_installed_is_said_with_pips_words_and_exits_1_and_the_others_are(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(typer.Exit) as ended:
        environments.main(["nowhere", "made"])
    assert ended.value.exit_code == 1
    assert "nowhere cannot be installed here" in (said := capsys.readouterr()).err
    assert "No matching distribution" in said.err
    assert environments.python("nowhere") is None
    assert said.out == f"made: {folder / 'made' / 'bin' / 'python'}\n"


def test_a_name_that_is_none_is_answered_with_those_that_are():
    with pytest.raises(typer.BadParameter, match=r"flask is none of litserve, mosec, ray, bentoml, triton"):
        environments.main(["flask"])
