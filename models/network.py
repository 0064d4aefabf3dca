"""The networks, layer by layer, as a config describes them: float signal [N, 1, samples] in, scores out.

Layer names, orders and definitions are Bonito's, so that its weights fit. Scores are [N, steps, states, 4 or
5] for the lattice of `models.crf`, or log probabilities [N, steps, 5] for `models.ctc`.
"""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.layers import Layer
from models.quartznet import Block, CtcScores
from models.transformer import LinearUpsample, TransformerLayer

ACTIVATIONS: dict[str, type[nn.Module]] = {"swish": nn.SiLU, "tanh": nn.Tanh, "relu": nn.ReLU}


class BatchNorm(nn.Module):
    """Normalisation of each channel over batch and time."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T] -> the same."""
        out: Tensor = self.bn(x)
        return out


class Convolution(nn.Module):
    """Convolution along time, norm and activation: [N, C, samples] -> [N, size, samples / stride]."""

    def __init__(
        self,
        insize: int,
        size: int,
        winlen: int,
        stride: int,
        padding: int,
        bias: bool,
        activation: str | None,
        norm: str | None,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(insize, size, winlen, stride=stride, padding=padding, bias=bias)
        self.activation = ACTIVATIONS[activation]() if activation else nn.Identity()
        self.norm: nn.Module = BatchNorm(size) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, samples] -> [N, size, samples / stride]."""
        out: Tensor = self.activation(self.norm(self.conv(x)))
        return out

    def fuse(self) -> None:
        """Make the norm a part of the convolution, which stays the same function to rounding."""
        if isinstance(self.norm, BatchNorm):
            self.conv = fuse_conv_bn_eval(self.conv.eval(), self.norm.bn.eval())
            self.norm = nn.Identity()


class Permute(nn.Module):
    """Reorder dimensions; here [N, C, T] -> [T, N, C]."""

    def __init__(self, dims: list[int]) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        """Reorder."""
        return x.permute(*self.dims)


class Clamp(nn.Module):
    """Keep values within bounds."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> Tensor:
        """Clamp."""
        return x.clamp(self.low, self.high)


class Linear(nn.Module):
    """A linear layer: [..., in_features] -> [..., out_features]."""

    def __init__(self, in_features: int, out_features: int, bias: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in_features] -> [..., out_features]."""
        out: Tensor = self.linear(x)
        return out


class LSTM(nn.Module):
    """One direction of an LSTM: [T, N, C] -> [T, N, size]; a reversed one reads from the end."""

    def __init__(self, insize: int, size: int, bias: bool, reverse: bool) -> None:
        super().__init__()
        self.rnn = nn.LSTM(insize, size, bias=bias)
        self.reverse = reverse

    def forward(self, x: Tensor) -> Tensor:
        """[T, N, C] -> [T, N, size]."""
        if self.reverse:
            out: Tensor = self.rnn(x.flip(0))[0].flip(0)
        else:
            out = self.rnn(x)[0]
        return out


class LinearCRFEncoder(nn.Module):
    """Scores of the lattice: [T, N, C] -> [N, T, states, 4 or 5], 4 where staying scores a constant.

    `permute` brings what comes in to [T, N, C] where it is not.
    """

    def __init__(
        self,
        insize: int,
        state_len: int,
        bias: bool,
        scale: float | None,
        activation: str | None,
        blank: bool,
        permute: list[int] | None = None,
    ) -> None:
        super().__init__()
        self.states = 4**state_len
        self.linear = nn.Linear(insize, self.states * (4 if blank else 5), bias=bias)
        self.activation = ACTIVATIONS[activation]() if activation else nn.Identity()
        self.scale = scale or 1.0
        self.permute = permute

    def forward(self, x: Tensor) -> Tensor:
        """[T, N, C] -> [N, T, states, 4 or 5]."""
        if self.permute:
            x = x.permute(*self.permute)
        scores: Tensor = self.activation(self.linear(x)) * self.scale
        steps, batch, _ = scores.shape
        return scores.transpose(0, 1).reshape(batch, steps, self.states, -1)


class Network(nn.Module):
    """A stack of layers: [N, 1, samples] -> scores."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.encoder = serial(layers)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 1, samples] -> scores."""
        out: Tensor = self.encoder(x)
        return out

    def fuse(self) -> None:
        """Make batch norms parts of their convolutions, for inference."""
        for module in self.modules():
            if isinstance(module, Convolution | Block):
                module.fuse()

    @property
    def parameters_count(self) -> int:
        """How many numbers were trained."""
        return sum(parameter.numel() for parameter in self.parameters())


def serial(layers: Sequence[Layer]) -> nn.Sequential:
    """Return layers one after another, under their names or else their numbers."""
    return nn.Sequential(
        OrderedDict((layer.get("name", str(index)), build(layer)) for index, layer in enumerate(layers))
    )


def build(layer: Layer) -> nn.Module:  # noqa: PLR0911 - one return a kind of layer
    """Return the module that one entry of a config stands for."""
    match layer["type"]:
        case "convolution":
            return Convolution(
                layer["insize"],
                layer["size"],
                layer["winlen"],
                layer.get("stride", 1),
                layer.get("padding", 0),
                layer.get("bias", True),
                layer.get("activation"),
                layer.get("norm"),
            )
        case "permute":
            return Permute(layer["dims"])
        case "clamp":
            return Clamp(layer["min"], layer["max"])
        case "linear":
            return Linear(layer["in_features"], layer["out_features"], layer.get("bias", True))
        case "lstm":
            return LSTM(
                layer["insize"], layer["size"], layer.get("bias", True), bool(layer.get("reverse", False))
            )
        case "transformerencoderlayer":
            return TransformerLayer(
                layer["d_model"],
                layer["nhead"],
                layer["dim_feedforward"],
                layer["deepnorm_alpha"],
                layer["attn_window"],
                layer.get("theta", 10_000.0),
            )
        case "linearupsample":
            return LinearUpsample(layer["d_model"], layer["scale_factor"])
        case "linearcrfencoder":
            return LinearCRFEncoder(
                layer["insize"],
                layer["state_len"],
                layer.get("bias", True),
                layer.get("scale"),
                layer.get("activation"),
                layer.get("blank_score") is not None,
                layer.get("permute"),
            )
        case "block":
            return Block(
                layer["insize"],
                layer["filters"],
                layer["repeat"],
                layer["kernel"][0],
                layer["stride"][0],
                layer["dilation"][0],
                ACTIVATIONS[layer["activation"]](),
                residual=layer["residual"],
                separable=layer["separable"],
            )
        case "ctcdecoder":
            return CtcScores(layer["insize"])
        case "serial":
            return serial(layer["sublayers"])
        case "stack":
            return nn.Sequential(*(build(layer["layer"]) for _ in range(layer["depth"])))
