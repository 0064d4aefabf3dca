"""What a model directory's config.toml says, checked: the layers, and how signal is scaled, cut and scored.

Every form of Bonito's and Dorado's is read: blocks of a QuartzNet, a flat [encoder], typed layers under
[encoder], and typed layers under [model.encoder]. A field that is not known could change the result, and is
an error. The tables under HARMLESS cannot: they are of training, or of what is not done here.
"""

import tomllib
from dataclasses import dataclass
from itertools import takewhile
from math import lcm
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import ModelFormatError
from models.layers import Activation, Layer, Size, first_complaint, leaves, read_layers, read_root, strides
from models.scaling import Scaling

HARMLESS = frozenset(
    ["training", "training_dataset", "optim", "lr_scheduler", "decoder", "aux_CRF_losses", "poly_a"]
)
"""Tables that say nothing about how reads are called."""
ALPHABET = ["N", "A", "C", "G", "T"]
LINE_SAMPLES = 16
"""Of 32 bits, in a cache line."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model. `chunk_samples` and `overlap` are whole numbers of `grid_samples`, the samples of a step
    before any upsampling, and those of `stride`, the samples of a step of the scores.

    `state_len` is 0 for a CTC model. `beam_width` is 0 where the best path is taken, without a beam.
    Mean qualities leave out the first `q_start` bases.
    """

    name: str
    layers: tuple[Layer, ...]
    state_len: int
    stride: int
    blank_score: float
    sample_rate: float
    scaling: Scaling
    q_scale: float
    q_bias: float
    chunk_samples: int
    overlap: int
    batch_chunks: int
    grid_samples: int
    trims: bool = False
    beam_width: int = 0
    q_start: int = 0


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


_Known = TypeVar("_Known", bound=_Table)


class _Seqdist(_Table):
    state_len: int
    alphabet: list[str]


class _Model(_Table):
    package: Literal["bonito.crf", "bonito.ctc", "bonito.transformer"]
    type: Literal["seqdistmodel"] | None = None
    encoder: dict[str, Any] | None = None
    seqdist: _Seqdist | None = None
    n_pre_post_context_bases: list[int] | None = None


class _Labels(_Table):
    labels: list[str]


class _Input(_Table):
    features: Literal[1]
    n_pre_post_context_bases: list[int] | None = None


class _GlobalNorm(_Table):
    state_len: int


class _FlatEncoder(_Table):
    stride: Size
    winlen: Size
    features: Size
    rnn_type: Literal["lstm"]
    activation: Activation
    scale: float = 5.0
    blank_score: float | None = None
    first_conv_size: Size = 4
    num_layers: Size = 5
    norm: Literal["batchnorm"] | None = None
    expand_blanks: bool = True


class _BlockEncoder(_Table):
    activation: Activation


class _ScalingTable(_Table):
    strategy: Literal["med_mad", "quantile", "pa"]


class _Normalisation(_Table):
    quantile_a: float
    quantile_b: float
    shift_multiplier: float
    scale_multiplier: float


class _Standardisation(_Table):
    standardise: bool
    mean: float = 0.0
    stdev: Annotated[float, Field(gt=0)] = 1.0


class _RunInfo(_Table):
    sample_rate: Annotated[float, Field(gt=0)] = 4000.0
    sample_type: Literal["dna"] = "dna"


class _Qscore(_Table):
    scale: float = 1.0
    bias: float = 0.0
    mean_qscore_start_pos: Annotated[int, Field(ge=0)] = 0


class _Basecaller(_Table):
    """Bonito's defaults; `trim`, whether what precedes the strand is cut off, and `beam_width` are ours."""

    chunksize: Size = 4000
    overlap: Annotated[int, Field(ge=0)] = 500
    batchsize: Size = 64
    quantize: bool | None = None
    trim: bool = True
    beam_width: Annotated[int, Field(ge=0, le=1024)] | None = None


class _Tables(_Table):
    model: _Model
    labels: _Labels | None = None
    input: _Input | None = None
    global_norm: _GlobalNorm | None = None
    encoder: dict[str, Any] | None = None
    block: list[dict[str, Any]] | None = None
    scaling: _ScalingTable | None = None
    normalisation: _Normalisation | None = None
    standardisation: _Standardisation | None = None
    run_info: _RunInfo = _RunInfo()
    qscore: _Qscore = _Qscore()
    basecaller: _Basecaller = _Basecaller()


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
        return parse_config(directory.resolve().name, table)
    except ModelFormatError as error:
        raise ModelFormatError(f"{path}: {error}") from error


def parse_config(name: str, table: dict[str, Any]) -> ModelConfig:
    """Return the config that a parsed config.toml stands for, of a model called `name`."""
    tables = _read(_Tables, {key: value for key, value in table.items() if key not in HARMLESS}, "")
    if name.startswith("rna"):
        raise ModelFormatError("models of RNA are not read: their strands pass in the other direction")
    layers = _layers(tables)
    stride, grid = strides(layers)
    state_len, blank_score = _head(tables, layers)
    labels = tables.labels.labels if tables.labels else ALPHABET
    for said in (labels, tables.model.seqdist.alphabet if tables.model.seqdist else ALPHABET):
        if said != ALPHABET:
            raise ModelFormatError(f"the labels are {said}, not {ALPHABET}")
    # Rows of whole cache lines: else a kernel's rounding depends on which row of a batch a chunk is.
    aligned = lcm(grid, LINE_SAMPLES)
    chunk = tables.basecaller.chunksize // aligned * aligned
    overlap = tables.basecaller.overlap // grid * grid
    if overlap >= chunk:
        raise ModelFormatError(f"basecaller.overlap is {overlap} samples of chunks of {chunk}")
    return ModelConfig(
        name=name,
        layers=layers,
        state_len=state_len,
        stride=stride,
        blank_score=blank_score,
        sample_rate=tables.run_info.sample_rate,
        scaling=_scaling(name, tables),
        q_scale=tables.qscore.scale,
        q_bias=tables.qscore.bias,
        chunk_samples=chunk,
        overlap=overlap,
        batch_chunks=tables.basecaller.batchsize,
        grid_samples=grid,
        trims=tables.basecaller.trim,
        beam_width=_beam_width(tables.basecaller.beam_width, state_len),
        q_start=tables.qscore.mean_qscore_start_pos,
    )


def _layers(tables: _Tables) -> tuple[Layer, ...]:
    if tables.block is not None:
        activation = _read(_BlockEncoder, tables.encoder or {}, "encoder").activation
        return read_layers(_quartznet(tables.block, activation), "block")
    if tables.model.encoder is not None:
        return read_root(tables.model.encoder, "model.encoder")
    if tables.encoder is None:
        raise ModelFormatError("encoder is missing")
    if "type" in tables.encoder:
        return read_root(tables.encoder, "encoder")
    if tables.global_norm is None:
        raise ModelFormatError("global_norm.state_len is missing")
    encoder = _read(_FlatEncoder, tables.encoder, "encoder")
    return read_layers(flat_layers(encoder, tables.global_norm.state_len), "encoder")


def _quartznet(blocks: list[dict[str, Any]], activation: Activation) -> list[dict[str, Any]]:
    layers: list[dict[str, Any]] = []
    size: Any = 1
    for block in blocks:
        layers.append({"type": "block", "insize": size, "activation": activation, **block})
        size = block.get("filters")
    return [*layers, {"type": "ctcdecoder", "insize": size}]


def flat_layers(encoder: _FlatEncoder, state_len: int) -> list[dict[str, Any]]:
    """Return the layers that a flat [encoder] implies: three convolutions, LSTMs that alternate in direction
    and of which the last is reversed, and a linear layer with tanh."""
    size, first = encoder.features, encoder.first_conv_size
    convolutions = [(1, first, 5, 1), (first, 16, 5, 1), (16, size, encoder.winlen, encoder.stride)]
    return [
        *(
            {
                "type": "convolution",
                "insize": into,
                "size": out,
                "winlen": winlen,
                "stride": stride,
                "padding": winlen // 2,
                "activation": encoder.activation,
                **({"norm": encoder.norm} if encoder.norm else {}),
            }
            for into, out, winlen, stride in convolutions
        ),
        {"type": "permute", "dims": [2, 0, 1]},
        *(
            {"type": "lstm", "insize": size, "size": size, "reverse": (encoder.num_layers - n) % 2 == 1}
            for n in range(encoder.num_layers)
        ),
        {
            "type": "linearcrfencoder",
            "insize": size,
            "state_len": state_len,
            "bias": True,
            "activation": "tanh",
            "scale": encoder.scale,
            "blank_score": encoder.blank_score,
        },
    ]


def _head(tables: _Tables, layers: tuple[Layer, ...]) -> tuple[int, float]:
    """Return the lattice's state_len, 0 for CTC, and the constant score of staying, 0 where it has none."""
    flat = list(leaves(layers))
    clamps = list(takewhile(lambda layer: layer["type"] == "clamp", reversed(flat)))
    crf = flat[-1 - len(clamps)] if len(clamps) < len(flat) else None
    if crf and crf["type"] == "ctcdecoder" and not clamps:
        return 0, 0.0
    if crf is None or crf["type"] != "linearcrfencoder":
        raise ModelFormatError("the layers do not end in a linearcrfencoder, clamped or not")
    said = tables.global_norm or tables.model.seqdist
    if said and said.state_len != crf["state_len"]:
        raise ModelFormatError(
            f"state_len is {said.state_len}, and that of the linearcrfencoder {crf['state_len']}"
        )
    blank_score = crf.get("blank_score") or 0.0
    for layer in clamps:
        if layer["type"] == "clamp" and not layer["min"] <= blank_score <= layer["max"]:
            raise ModelFormatError(f"blank_score {blank_score} is outside the clamp that follows it")
    return crf["state_len"], blank_score


def _beam_width(said: int | None, state_len: int) -> int:
    """Return the width of the beam; where the config is silent, that of Dorado, and for CTC Bonito's."""
    default = 32 if state_len else 5
    return default if said is None else said


def _scaling(name: str, tables: _Tables) -> Scaling:
    """Return how signal is scaled; without a [scaling], as Dorado does: by med_mad for R9.4.1."""
    default = "med_mad" if name.startswith("dna_r9.4.1") else "quantile"
    strategy = tables.scaling.strategy if tables.scaling else default
    standardisation = tables.standardisation or _Standardisation(standardise=False)
    if strategy == "pa":
        if tables.standardisation is None:
            raise ModelFormatError("scaling.strategy is 'pa', and standardisation is missing")
        if standardisation.standardise:
            return Scaling("pa", mean=standardisation.mean, stdev=standardisation.stdev, standardised=True)
        return Scaling("pa")
    if standardisation.standardise:
        raise ModelFormatError(f"standardisation is of scaling.strategy 'pa', not {strategy!r}")
    if strategy == "quantile" and tables.normalisation:
        return Scaling("quantile", **tables.normalisation.model_dump())
    return Scaling(strategy)


def _read(kind: type[_Known], values: Any, where: str) -> _Known:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ModelFormatError(f"{where}{first_complaint(error)}".removeprefix(".")) from error
