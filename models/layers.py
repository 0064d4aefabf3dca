"""What a config may say of a network's layers, in Bonito's terms and names.

Plain tables, checked field by field: a field that is not named here could change the result and is an error.
Knows neither weights nor torch.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

# pydantic takes typing's own only from Python 3.12 on.
from typing_extensions import TypedDict

from models.errors import ModelFormatError

Size = Annotated[int, Field(gt=0)]
Single = Annotated[list[Size], Field(min_length=1, max_length=1)]
Activation = Literal["swish", "tanh", "relu"]

_STRICT = ConfigDict(extra="forbid")


class Convolution(TypedDict):
    """Convolution along time, then batch normalisation and activation, where it has them."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    type: Literal["convolution"]
    name: NotRequired[str]
    insize: Size
    size: Size
    winlen: Size
    stride: NotRequired[Size]
    padding: NotRequired[int]
    bias: NotRequired[bool]
    activation: NotRequired[Activation]
    norm: NotRequired[Literal["batchnorm"]]


class Permute(TypedDict):
    """Reorders dimensions."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    type: Literal["permute"]
    name: NotRequired[str]
    dims: list[int]


class Clamp(TypedDict):
    """Keeps values within bounds."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    type: Literal["clamp"]
    name: NotRequired[str]
    min: float
    max: float


class Linear(TypedDict):
    """The bottleneck before the scores."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    type: Literal["linear"]
    name: NotRequired[str]
    in_features: Size
    out_features: Size
    bias: NotRequired[bool]


class Lstm(TypedDict):
    """One direction of an LSTM."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    type: Literal["lstm"]
    name: NotRequired[str]
    insize: Size
    size: Size
    bias: NotRequired[bool]
    reverse: NotRequired[bool]


class TransformerLayer(TypedDict):
    """Attention in a window with rotary positions, then a gated MLP; `deepnorm_beta` is of training, and
    `max_seq_len` of Dorado's tables."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    type: Literal["transformerencoderlayer"]
    name: NotRequired[str]
    d_model: Size
    nhead: Size
    dim_feedforward: Size
    deepnorm_alpha: float
    deepnorm_beta: NotRequired[float]
    attn_window: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2, max_length=2)]
    theta: NotRequired[float]
    max_seq_len: NotRequired[int]


class Upsample(TypedDict):
    """Several steps out of each."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    type: Literal["linearupsample"]
    name: NotRequired[str]
    d_model: Size
    scale_factor: Size
    batch_first: NotRequired[Literal[True]]


class CrfScores(TypedDict):
    """Scores of the CTC-CRF lattice; `expand_blanks` says only how they are stored."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    type: Literal["linearcrfencoder"]
    name: NotRequired[str]
    insize: Size
    n_base: NotRequired[Literal[4]]
    state_len: Annotated[int, Field(ge=1, le=6)]
    bias: NotRequired[bool]
    scale: NotRequired[float | None]
    activation: NotRequired[Activation | None]
    blank_score: NotRequired[float | None]
    expand_blanks: NotRequired[bool]
    permute: NotRequired[list[int] | None]


class Block(TypedDict):
    """A block of a QuartzNet; `dropout` is of training alone."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    type: Literal["block"]
    name: NotRequired[str]
    insize: Size
    filters: Size
    repeat: Size
    kernel: Single
    stride: Single
    dilation: Single
    activation: Activation
    residual: bool
    separable: bool
    dropout: NotRequired[float]


class CtcScores(TypedDict):
    """Log probabilities of blank and bases."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    type: Literal["ctcdecoder"]
    name: NotRequired[str]
    insize: Size


class Serial(TypedDict):
    """Layers one after another; `sublayers` may have names, as in a namedserial."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    type: Literal["serial"]
    name: NotRequired[str]
    sublayers: list["Layer"]


class Stack(TypedDict):
    """The same layer `depth` times, each with its own weights."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]
    type: Literal["stack"]
    name: NotRequired[str]
    layer: "Layer"
    depth: Size


Layer = Annotated[
    Convolution
    | Permute
    | Clamp
    | Linear
    | Lstm
    | TransformerLayer
    | Upsample
    | CrfScores
    | Block
    | CtcScores
    | Serial
    | Stack,
    Field(discriminator="type"),
]

_layer: TypeAdapter[Layer] = TypeAdapter(Layer)
_layers: TypeAdapter[list[Layer]] = TypeAdapter(list[Layer])
_KINDS = frozenset(
    {
        *("convolution", "permute", "clamp", "linear", "lstm", "transformerencoderlayer", "linearupsample"),
        *("linearcrfencoder", "block", "ctcdecoder", "serial", "stack"),
    }
)


def read_root(table: dict[str, Any], where: str) -> tuple[Layer, ...]:
    """Return the layers of a config's encoder, whose table is `where`; see `read_layers`."""
    with _complaints_as_errors(where, after="layer"):
        root = _layer.validate_python(_plain(table))
    return _checked(root["sublayers"] if root["type"] == "serial" else [root])


def read_layers(tables: list[dict[str, Any]], where: str) -> tuple[Layer, ...]:
    """Return the layers that a config's tables stand for; ModelFormatError names the field at fault.

    A namedserial becomes a serial whose sublayers have names.
    """
    with _complaints_as_errors(where):
        layers = _layers.validate_python(tables)
    return _checked(layers)


@contextmanager
def _complaints_as_errors(where: str, after: str = "") -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        raise ModelFormatError(f"{where}{first_complaint(error, after)}") from error


def _checked(layers: list[Layer]) -> tuple[Layer, ...]:
    for layer in leaves(layers):
        _check(layer)
    return tuple(layers)


def first_complaint(error: ValidationError, after: str = "") -> str:
    """Return where and what the first thing wrong is, in one line; `after` is the field that it is under."""
    first = error.errors(include_url=False)[0]
    # pydantic names the kind of a layer after its place, which is no field.
    parts = [
        str(part)
        for before, part in pairwise([after, *first["loc"]])
        if not (part in _KINDS and (isinstance(before, int) or before == "layer"))
    ]
    value = "" if isinstance(first["input"], dict) else f", not {first['input']!r}"
    match first["type"]:
        case "missing":
            return f".{'.'.join(parts)} is missing"
        case "extra_forbidden":
            return f".{'.'.join(parts)} is not known here, and could change the result"
        case "union_tag_invalid":
            parts.append("type")
            return f".{'.'.join(parts)}: layer type {first['ctx']['tag']!r} is not known"
        case "union_tag_not_found":
            return f".{'.'.join([*parts, 'type'])} is missing"
    return f".{'.'.join(parts)}: {first['msg']}{value}"


def leaves(layers: Iterable[Layer]) -> Iterator[Layer]:
    """Yield the layers that data goes through, in order."""
    for layer in layers:
        if layer["type"] == "serial":
            yield from leaves(layer["sublayers"])
        elif layer["type"] == "stack":
            for _ in range(layer["depth"]):
                yield from leaves([layer["layer"]])
        else:
            yield layer


def strides(layers: Iterable[Layer]) -> tuple[int, int]:
    """Return the samples of a step of the scores, and those of a step before any upsampling."""
    narrowed, upsampled = 1, 1
    for layer in leaves(layers):
        if layer["type"] == "convolution":
            narrowed *= layer.get("stride", 1)
        elif layer["type"] == "block":
            narrowed *= layer["stride"][0] ** layer["repeat"]
        elif layer["type"] == "linearupsample":
            upsampled *= layer["scale_factor"]
    if narrowed % upsampled:
        raise ModelFormatError(f"an upsampling by {upsampled} of steps of {narrowed} samples has no stride")
    return narrowed // upsampled, narrowed


def _plain(table: Any) -> Any:
    if not isinstance(table, dict):
        return table
    plain = dict(table)
    if plain.get("type") == "namedserial":
        named = [
            {**child, "name": name} if isinstance(child, dict) else child
            for name, child in table.items()
            if name not in {"type", "name"}
        ]
        plain = {"type": "serial", "sublayers": named, **({"name": table["name"]} if "name" in table else {})}
    if isinstance(plain.get("sublayers"), list):
        plain["sublayers"] = [_plain(child) for child in plain["sublayers"]]
    if "layer" in plain:
        plain["layer"] = _plain(plain["layer"])
    if "rotary_base" in plain and "theta" not in plain:  # Dorado's other name for it
        plain["theta"] = plain.pop("rotary_base")
    return plain


def _check(layer: Layer) -> None:
    """Refuse windows under which a step would not lie on its samples."""
    if layer["type"] == "convolution" and 2 * layer.get("padding", 0) != layer["winlen"] - 1:
        raise ModelFormatError(
            f"a convolution of winlen {layer['winlen']} has padding {layer.get('padding', 0)}: "
            "it must be half of winlen, which is odd, for steps to lie on their samples"
        )
    if layer["type"] == "block" and layer["kernel"][0] % 2 == 0:
        raise ModelFormatError(f"a block has kernel {layer['kernel'][0]}: it must be odd")
    if layer["type"] == "transformerencoderlayer" and layer["d_model"] % (2 * layer["nhead"]):
        raise ModelFormatError(f"d_model {layer['d_model']} does not divide into {layer['nhead']} even heads")
