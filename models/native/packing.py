"""A recurrent network's layers, their weights laid out as `native.cpp` multiplies them. Pure.

bfloat16 weights are [outputs / 64, inputs / 2, 4, 16, 2]: pairs of inputs innermost, four vectors of 16
outputs side by side (in an LSTM, the four gates of 16 units).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.network import LSTM, Clamp, Convolution, Linear, LinearCRFEncoder, Network, Permute

LANES, PARTS = 16, 4
LOG2_E = math.log2(math.e)
_ACTIVATIONS: dict[type[nn.Module], int] = {nn.Identity: 0, nn.SiLU: 1, nn.Tanh: 2}

Array = NDArray[Any]


class UnpackableError(Exception):
    """The network is not of the family that `native.cpp` knows."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What follows a product: an activation, by its number in `native.cpp`, then a clamp."""

    activation: int = 0
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True, slots=True, eq=False)
class PackedConvolution:
    """A narrow one, of at most 16 outputs, has float32 weights [winlen, inputs, 16] and costs little; a wide
    one is a product over windows, its weights bfloat16."""

    weights: Array
    biases: Array
    inputs: int
    outputs: int
    winlen: int
    stride: int
    shape: Shape

    @property
    def is_narrow(self) -> bool:
        """Whether it runs in float32."""
        return self.outputs <= LANES

    @property
    def padding(self) -> int:
        """Zeros on either side of what comes in."""
        return self.winlen // 2

    def steps(self, samples: int) -> int:
        """Return how many steps come out of `samples`."""
        return (samples + 2 * self.padding - self.winlen) // self.stride + 1


@dataclass(frozen=True, slots=True, eq=False)
class PackedLSTM:
    """One direction. The gates i, f, o are scaled by -log2(e) and g by -2 log2(e), for powers of two."""

    weights: Array
    biases: Array
    inputs: int
    units: int
    reverse: bool


@dataclass(frozen=True, slots=True, eq=False)
class PackedLinear:
    """A product, and a factor at its end."""

    weights: Array
    biases: Array
    inputs: int
    outputs: int
    shape: Shape
    scale: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class PackedNetwork:
    """Layers in the order data goes through them; `scores` [states, 4 or 5] come last."""

    convolutions: Sequence[PackedConvolution]
    recurrent: Sequence[PackedLSTM | PackedLinear]
    scores: PackedLinear
    states: int


def pack(network: Network) -> PackedNetwork:
    """Return a fused network's layers packed: convolutions, then LSTMs and linear layers, then CRF scores.

    Raises UnpackableError where it is made otherwise.
    """
    convolutions: list[PackedConvolution] = []
    recurrent: list[PackedLSTM | PackedLinear] = []
    layers = [*_leaves(network.encoder)]
    for layer, following in zip(layers, chain(layers[1:], [nn.Identity()]), strict=True):
        bounds = (following.low, following.high) if isinstance(following, Clamp) else (-math.inf, math.inf)
        match layer:
            case Clamp() | Permute(dims=[2, 0, 1]):
                pass  # part of the layer before it; the order in which things lie anyway
            case Convolution() if not recurrent:
                convolutions.append(_convolution(layer, Shape(_activation(layer.activation), *bounds)))
            case LSTM() if convolutions and bounds == (-math.inf, math.inf):
                recurrent.append(_lstm(layer))
            case Linear() if recurrent:
                recurrent.append(_linear(layer.linear, Shape(0, *bounds)))
            case LinearCRFEncoder(permute=None) if recurrent and layers[-1] in {layer, following}:
                if layer.scale != 1.0 and bounds != (-math.inf, math.inf):
                    raise UnpackableError("a clamp after a factor")
                shape = Shape(_activation(layer.activation), *bounds)
                scores = _linear(layer.linear, shape, layer.scale)
                return PackedNetwork(_in_order(convolutions), recurrent, scores, layer.states)
            case _:
                raise UnpackableError(f"a {type(layer).__name__} there")
    raise UnpackableError("no CRF scores at its end")


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, nn.Sequential):
            yield from _leaves(child)
        else:
            yield child


def _in_order(convolutions: list[PackedConvolution]) -> list[PackedConvolution]:
    wide = [not layer.is_narrow for layer in convolutions]
    if not convolutions or not wide[-1] or wide != sorted(wide) or convolutions[0].inputs != 1:
        raise UnpackableError("its convolutions do not widen to the end")
    return convolutions


def _activation(module: nn.Module) -> int:
    try:
        return _ACTIVATIONS[type(module)]
    except KeyError as error:
        raise UnpackableError(f"activation {type(module).__name__}") from error


def _convolution(layer: Convolution, shape: Shape) -> PackedConvolution:
    conv = layer.conv
    outputs, inputs, winlen = conv.weight.shape
    if not isinstance(layer.norm, nn.Identity) or conv.padding != (winlen // 2,):
        raise UnpackableError("a convolution that is not fused, or padded otherwise")
    if outputs <= LANES:
        weights = np.zeros((winlen, inputs, LANES), np.float32)
        weights[:, :, :outputs] = conv.weight.detach().permute(2, 1, 0).numpy()
        biases = _padded_biases(conv.bias, outputs, LANES)
    else:
        weights = _pairs(conv.weight.detach().permute(0, 2, 1).reshape(outputs, winlen * inputs))
        biases = _padded_biases(conv.bias, outputs, LANES * PARTS)
    return PackedConvolution(weights, biases, inputs, outputs, winlen, conv.stride[0], shape)


def _lstm(layer: LSTM) -> PackedLSTM:
    rnn = layer.rnn
    units, inputs = rnn.hidden_size, rnn.input_size
    if units % LANES or inputs % 2:
        raise UnpackableError(f"an LSTM of {inputs} inputs and {units} units")
    factors = -LOG2_E * torch.tensor([1.0, 1.0, 2.0, 1.0]).repeat_interleave(units)
    weights = {name: value.detach() for name, value in rnn.named_parameters()}
    both = torch.cat([weights["weight_ih_l0"], weights["weight_hh_l0"]], 1) * factors[:, None]
    # [gate, units / 16, 16, inputs] -> [units / 16, gate, 16, inputs]: the four gates of 16 units together.
    grouped = both.reshape(PARTS, units // LANES, LANES, -1).transpose(0, 1).reshape(4 * units, -1)
    bias = weights["bias_ih_l0"] + weights["bias_hh_l0"] if rnn.bias else torch.zeros(4 * units)
    scaled = (bias * factors).reshape(PARTS, units // LANES, LANES).transpose(0, 1)
    biases = np.ascontiguousarray(scaled.numpy(), np.float32)
    return PackedLSTM(_pairs(grouped), biases, inputs, units, layer.reverse)


def _linear(linear: nn.Linear, shape: Shape, scale: float = 1.0) -> PackedLinear:
    outputs, inputs = linear.weight.shape
    if inputs % 2 or outputs % LANES:
        raise UnpackableError(f"a linear layer of {inputs} inputs and {outputs} outputs")
    biases = _padded_biases(linear.bias, outputs, LANES * PARTS)
    return PackedLinear(_pairs(linear.weight.detach()), biases, inputs, outputs, shape, scale)


def _pairs(weights: Tensor) -> Array:
    """[outputs, inputs] -> bfloat16 [outputs / 64, inputs / 2, 4, 16, 2], outputs filled up to 64s."""
    outputs, inputs = weights.shape
    if inputs % 2 or outputs % LANES:
        raise UnpackableError(f"a product of {inputs} inputs and {outputs} outputs")
    filled = torch.zeros(-(-outputs // (LANES * PARTS)) * LANES * PARTS, inputs)
    filled[:outputs] = weights
    halves = filled.to(torch.bfloat16).reshape(-1, PARTS, LANES, inputs // 2, 2).permute(0, 3, 1, 2, 4)
    return np.ascontiguousarray(halves.contiguous().view(torch.int16).numpy()).view(np.uint16)


def _padded_biases(biases: Tensor | None, outputs: int, multiple: int) -> Array:
    padded = np.zeros(-(-outputs // multiple) * multiple, np.float32)
    if biases is not None:
        padded[:outputs] = biases.detach().numpy()
    return padded
