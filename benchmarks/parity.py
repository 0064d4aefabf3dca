"""Are our scores Bonito's? The same random weights through its layers and through ours, in 32-bit floats.

    pip install --no-deps ont-bonito==1.1.0 fast-ctc-decode edlib mappy pandas parasail toml
    python -m benchmarks.parity

For each family, at its real width: Bonito builds the network from the config and its weights are saved as
weights_1.tar and, by Bonito's own exporter, as Dorado's files; we load both. Prints the greatest difference
of each, and as the last line JSON; exit status 1 where one exceeds 1e-4, 2 where Bonito is not installed.
Bonito's CUDA kernels (koi) are not needed: its layers are plain torch.
"""

import copy
import importlib
import json
import sys
import tempfile
import tomllib
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from models.config import load_config
from models.weights import load_network
from tests.model_directories import FLAT, QUARTZNET, TRANSFORMER, TYPED, randomise

TOLERANCE = 1e-4
INSTALL = "pip install --no-deps ont-bonito==1.1.0 fast-ctc-decode edlib mappy pandas parasail toml"
"""Without dependencies: Bonito's pin another torch."""
BATCH, SAMPLES = 2, 3600
"""300 steps of the transformer: more than are attended at a time."""

FAMILIES = {
    "dna_r9.4.1_hac@v3.3, flat": (FLAT, [("features = 16", "features = 384"), ("_len = 2", "_len = 4")]),
    "dna_r9.4.1@v3, flat": (FLAT, [("features = 16", "features = 256"), ("blank_score = 2.0", "")]),
    "hac@v4.2, typed": (
        TYPED,
        [
            ("size = 32", "size = 384"),
            ("_features = 32", "_features = 384"),
            ("= 24", "= 128"),
            ("_len = 2", "_len = 4"),
        ],
    ),
    "sup@v5, transformer": (
        TRANSFORMER,
        [
            ("= 32\n", "= 512\n"),
            ("= 64\n", "= 2048\n"),
            ("nhead = 2", "nhead = 8"),
            ("7, 8", "127, 128"),
            ("_len = 2", "_len = 5"),
        ],
    ),
    "dna_r9.4.1@v2, QuartzNet": (QUARTZNET, [("filters = 24", "filters = 424"), ("[11]", "[115]")]),
    "dna_r9.4.1@v1, QuartzNet": (QUARTZNET, [('"swish"', '"relu"'), ("= 24", "= 256"), ("[11]", "[33]")]),
}
"""Configs of the tests' small networks, and what makes them as wide as the official ones."""


class Absent(ModuleType):
    """Stands for Bonito's CUDA kernels, of which its layers' definitions need none."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def bonito() -> tuple[Callable[[str], Any], ModuleType]:
    """Return what gives a package of Bonito's its Model, and Bonito's exporter."""
    try:
        importlib.import_module("koi.ctc")
    except ImportError:
        for name in ("koi", "koi.lstm", "koi.ctc", "koi.decode"):
            sys.modules[name] = Absent(name)
    try:
        export = importlib.import_module("bonito.cli.export")
        for package in ("bonito.crf", "bonito.ctc", "bonito.transformer"):
            importlib.import_module(package)
    except ImportError as error:
        print(f"benchmarks.parity: Bonito is not installed ({error}): {INSTALL}", file=sys.stderr)
        raise SystemExit(2) from error
    return lambda package: importlib.import_module(package).Model, export


def standard(scores: torch.Tensor, ours: torch.Tensor, blank: float) -> torch.Tensor:
    """Return our scores [N, T, ...] as Bonito lays them out, [T, N, C]."""
    if ours.ndim == 4 and ours.shape[-1] == 4:
        ours = torch.nn.functional.pad(ours, (1, 0), value=blank)
    return ours.flatten(2).transpose(0, 1).reshape(scores.shape)


def main() -> None:
    """Compare, print, and exit."""
    torch.set_num_threads(1)
    model_of, export = bonito()
    differences: dict[str, dict[str, float]] = {}
    for name, (text, widening) in FAMILIES.items():
        wide = reduce(lambda config, change: config.replace(*change), widening, text)
        torch.manual_seed(7)
        table = tomllib.loads(wide)
        theirs = model_of(table["model"]["package"])(copy.deepcopy(table)).eval()
        randomise(theirs)
        signal = torch.randn(BATCH, 1, SAMPLES)
        with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
            directory = Path(folder) / "dna_r10.4.1"
            directory.mkdir()
            (directory / "config.toml").write_text(wide)
            torch.save(theirs.state_dict(), directory / "weights_1.tar")
            expected = theirs(signal)
            found = {"scores_sd": float(expected.std())}
            config = load_config(directory)
            ours = load_network(directory, config.layers)(signal)
            found["bonito"] = float((standard(expected, ours, config.blank_score) - expected).abs().max())
            if config.state_len:
                exported = Path(folder) / "dna_exported"
                fused = copy.deepcopy(theirs).apply(importlib.import_module("bonito.nn").fuse_bn_)
                export.export_to_dorado(fused, copy.deepcopy(table), exported)
                config = load_config(exported)
                ours = load_network(exported, config.layers)(signal)
                found["dorado"] = float((standard(expected, ours, config.blank_score) - expected).abs().max())
        differences[name] = found
        print(f"{name:28} " + "  ".join(f"{form} {value:.2e}" for form, value in found.items()), flush=True)
    worst = max(
        value for found in differences.values() for form, value in found.items() if form != "scores_sd"
    )
    print(json.dumps({"greatest_difference": worst, "tolerance": TOLERANCE, "families": differences}))
    raise SystemExit(worst > TOLERANCE)


if __name__ == "__main__":
    main()
