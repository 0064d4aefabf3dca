"""The networks, layer by layer, as a config describes them: float signal [N, 1, samples] in, scores out.

Layer names and orders are Bonito's, so that its weights fit. Scores are [N, steps, states, 4 or 5] for the
lattice of `models.crf`.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from models.errors import ModelFormatError

Layer = Mapping[str, Any]
ACTIVATIONS: dict[str, type[nn.Module]] = {"swish": nn.SiLU, "tanh": nn.Tanh, "relu": nn.ReLU}


class Convolution(nn.Module):
    """Convolution along time and its activation: [N, C, samples] -> [N, size, samples / stride]."""

    def __init__(self, insize: int, size: int, winlen: int, stride: int, activation: str) -> None:
        super().__init__()
        self.conv = nn.Conv1d(insize, size, winlen, stride=stride, padding=winlen // 2)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, samples] -> [N, size, samples / stride]."""
        out: Tensor = self.activation(self.conv(x))
        return out


class Permute(nn.Module):
    """Reorder dimensions; here [N, C, T] -> [T, N, C]."""

    def __init__(self, dims: list[int]) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        """Reorder."""
        return x.permute(*self.dims)


class LSTM(nn.Module):
    """One direction of an LSTM: [T, N, C] -> [T, N, size]; a reversed one reads from the end."""

    def __init__(self, insize: int, size: int, reverse: bool) -> None:
        super().__init__()
        self.rnn = nn.LSTM(insize, size)
        self.reverse = reverse

    def forward(self, x: Tensor) -> Tensor:
        """[T, N, C] -> [T, N, size]."""
        if self.reverse:
            out: Tensor = self.rnn(x.flip(0))[0].flip(0)
        else:
            out = self.rnn(x)[0]
        return out


class LinearCRFEncoder(nn.Module):
    """Scores of the lattice: [T, N, C] -> [N, T, states, 4 or 5], 4 where staying scores a constant."""

    def __init__(
        self,
        insize: int,
        state_len: int,
        bias: bool,
        scale: float | None,
        activation: str | None,
        blank: bool,
    ) -> None:
        super().__init__()
        self.states = 4**state_len
        self.linear = nn.Linear(insize, self.states * (4 if blank else 5), bias=bias)
        self.activation = ACTIVATIONS[activation]() if activation else nn.Identity()
        self.scale = scale or 1.0

    def forward(self, x: Tensor) -> Tensor:
        """[T, N, C] -> [N, T, states, 4 or 5]."""
        scores: Tensor = self.activation(self.linear(x)) * self.scale
        steps, batch, _ = scores.shape
        return scores.transpose(0, 1).reshape(batch, steps, self.states, -1)


class Network(nn.Module):
    """A stack of layers: [N, 1, samples] -> scores [N, steps, states, 4 or 5]."""

    def __init__(self, layers: list[Layer]) -> None:
        super().__init__()
        self.encoder = nn.Sequential(*(build(layer) for layer in layers))

    def forward(self, x: Tensor) -> Tensor:
        """[N, 1, samples] -> scores."""
        out: Tensor = self.encoder(x)
        return out

    @property
    def parameters_count(self) -> int:
        """How many numbers were trained."""
        return sum(parameter.numel() for parameter in self.parameters())


def build(layer: Layer) -> nn.Module:
    """Return the module that one entry of a config stands for."""
    kind = layer["type"]
    if kind == "convolution":
        keys = ("insize", "size", "winlen", "stride", "activation")
        return Convolution(**{key: layer[key] for key in keys})
    if kind == "permute":
        return Permute(list(layer["dims"]))
    if kind == "lstm":
        return LSTM(layer["insize"], layer["size"], bool(layer["reverse"]))
    if kind == "linearcrfencoder":
        return LinearCRFEncoder(
            layer["insize"],
            layer["state_len"],
            layer.get("bias", True),
            layer.get("scale"),
            layer.get("activation"),
            layer.get("blank_score") is not None,
        )
    raise ModelFormatError(f"unknown layer type {kind!r}")


def flops_per_sample(layers: list[Layer]) -> float:
    """Return the multiplications and additions that one sample costs."""
    total, per_step = 0.0, 1.0
    for layer in layers:
        if layer["type"] == "convolution":
            per_step /= layer["stride"]
            total += 2 * layer["insize"] * layer["size"] * layer["winlen"] * per_step
        elif layer["type"] == "lstm":
            total += 8 * layer["size"] * (layer["insize"] + layer["size"]) * per_step
        elif layer["type"] == "linearcrfencoder":
            width = 4 if layer.get("blank_score") is not None else 5
            total += 2 * layer["insize"] * 4 ** layer["state_len"] * width * per_step
    return total
