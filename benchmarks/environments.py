"""An environment of its own for each peer, so that what it needs never enters the project's.

    python -m benchmarks.environments [NAME ...]      # all of them, unless some are named

An environment lies in `peers/` of the one that runs this; it sees the project's packages, torch among them,
after its own. Knows nothing of what is measured in them.
"""

import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

FOLDER = Path(sys.prefix) / "peers"
REQUIREMENTS: Mapping[str, tuple[str, ...]] = {
    "litserve": ("litserve==0.2.19",),
    "mosec": ("mosec==0.9.8",),
    "ray": ("ray[serve]==2.60.0",),
    "bentoml": ("bentoml==1.4.40",),
    # Of its Python code nothing is used, only its server; whose Python backend does not know numpy 2.
    "triton": ("--no-deps", "nvidia-pytriton==0.7.0", "numpy==1.26.4"),
}
"""What pip is told for each."""
INSTALL_S = 900.0


def python(name: str) -> Path | None:
    """Return the interpreter of a peer's environment; None where it is not installed."""
    marker = _marker(name)
    installed = marker.is_file() and marker.read_text() == _words(name)
    return FOLDER / name / "bin" / "python" if installed else None


def command(name: str) -> str:
    """Return what installs a peer."""
    return f"python -m benchmarks.environments {name}"


def install(name: str) -> None:
    """Make a peer's environment. Raises CalledProcessError, with what pip said, or TimeoutExpired."""
    if python(name):
        return
    folder = FOLDER / name
    venv.create(folder, clear=True, with_pip=False, symlinks=True)
    packages = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    Path(packages, "project.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet"]
    pip += ["--disable-pip-version-check", *REQUIREMENTS[name]]
    subprocess.run(pip, check=True, timeout=INSTALL_S, capture_output=True, text=True)  # noqa: S603 - our own
    _marker(name).write_text(_words(name))


def _marker(name: str) -> Path:
    return FOLDER / name / "installed.txt"


def _words(name: str) -> str:
    return " ".join(REQUIREMENTS[name])


def main(names: Annotated[list[str] | None, typer.Argument(help="Some of them.")] = None) -> None:
    """Install peers; exits 1 where one could not be."""
    wanted = names or list(REQUIREMENTS)
    if unknown := [name for name in wanted if name not in REQUIREMENTS]:
        raise typer.BadParameter(f"{', '.join(unknown)} is none of {', '.join(REQUIREMENTS)}")
    failed = False
    for name in wanted:
        try:
            install(name)
            typer.echo(f"{name}: {python(name)}")
        except subprocess.CalledProcessError as error:
            failed = True
            typer.echo(f"{name} cannot be installed here:\n{error.stderr}", err=True)
        except subprocess.TimeoutExpired:
            failed = True
            typer.echo(f"{name} was not installed within {INSTALL_S:g} s", err=True)
    raise typer.Exit(failed)


if __name__ == "__main__":
    typer.run(main)
