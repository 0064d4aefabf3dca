"""What a model directory's config.toml says, checked: the layers, and how signal is scaled, cut and scored.

The old Bonito form, a flat [encoder], is expanded to the list of layers that it implies.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import ModelFormatError
from models.network import Layer

SCALINGS = ("med_mad",)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model. `chunk_samples` and `overlap` are whole numbers of `stride` samples."""

    name: str
    layers: tuple[Layer, ...]
    state_len: int
    stride: int
    blank_score: float
    sample_rate: float
    scaling: str
    q_scale: float
    q_bias: float
    chunk_samples: int
    overlap: int
    batch_chunks: int


def load_config(directory: Path) -> ModelConfig:
    """Read `directory`/config.toml; ModelFormatError names the file and what is wrong in it."""
    path = directory / "config.toml"
    try:
        table = tomllib.loads(path.read_text())
    except OSError as error:
        raise ModelFormatError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelFormatError(f"{path}: not TOML: {error}") from error
    try:
        return parse_config(directory.name, table)
    except KeyError as error:
        raise ModelFormatError(f"{path}: {error.args[0]} is missing") from error
    except ModelFormatError as error:
        raise ModelFormatError(f"{path}: {error}") from error


def parse_config(name: str, table: dict[str, Any]) -> ModelConfig:
    """Return the config that a parsed config.toml stands for."""
    encoder = table["encoder"]
    state_len = int(table["global_norm"]["state_len"])
    layers = flat_layers(encoder, state_len)
    stride = int(encoder["stride"])
    basecaller, qscore = table.get("basecaller", {}), table.get("qscore", {})
    scaling = table.get("scaling", {}).get("strategy", "med_mad")
    if scaling not in SCALINGS:
        raise ModelFormatError(f"[scaling] strategy {scaling!r} is not one of {', '.join(SCALINGS)}")
    return ModelConfig(
        name=name,
        layers=tuple(layers),
        state_len=state_len,
        stride=stride,
        blank_score=float(encoder["blank_score"]),
        sample_rate=float(table.get("run_info", {}).get("sample_rate", 4000)),
        scaling=scaling,
        q_scale=float(qscore.get("scale", 1.0)),
        q_bias=float(qscore.get("bias", 0.0)),
        chunk_samples=_strides(int(basecaller.get("chunksize", 4000)), stride),
        overlap=_strides(int(basecaller.get("overlap", 400)), stride),
        batch_chunks=int(basecaller.get("batchsize", 64)),
    )


def flat_layers(encoder: dict[str, Any], state_len: int) -> list[Layer]:
    """Return the layers that a flat [encoder] implies: three convolutions, five LSTMs that alternate in
    direction, and a linear layer with tanh."""
    size, activation = int(encoder["features"]), encoder["activation"]
    if encoder["rnn_type"] != "lstm":
        raise ModelFormatError(f"[encoder] rnn_type {encoder['rnn_type']!r} is not 'lstm'")
    convolutions = [(1, 4, 5, 1), (4, 16, 5, 1), (16, size, int(encoder["winlen"]), int(encoder["stride"]))]
    return [
        *(
            {
                "type": "convolution",
                "insize": i,
                "size": o,
                "winlen": w,
                "stride": s,
                "activation": activation,
            }
            for i, o, w, s in convolutions
        ),
        {"type": "permute", "dims": [2, 0, 1]},
        *({"type": "lstm", "insize": size, "size": size, "reverse": n % 2 == 0} for n in range(5)),
        {
            "type": "linearcrfencoder",
            "insize": size,
            "state_len": state_len,
            "bias": True,
            "activation": "tanh",
            "scale": float(encoder["scale"]),
            "blank_score": float(encoder["blank_score"]),
        },
    ]


def _strides(samples: int, stride: int) -> int:
    return samples // stride * stride
