"""A recurrent network's layers, their weights laid out as `native.cpp` multiplies them. Pure.

Integer weights are [inputs / together, parts, 16, together], one block after another: what one instruction
takes innermost (four bytes, or two words of 16 bits), then up to four vectors of 16 outputs side by side (in
an LSTM, the four gates of 16 units). Bytes multiply an LSTM's states, which lie within -1 and 1; words
anything else. Scales follow from the weights alone; how bytes are rounded, from signal that is simulated and
always the same.
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

from models.native.typical import typical_signal
from models.network import LSTM, Clamp, Convolution, Linear, LinearCRFEncoder, Network, Permute

LANES, PARTS = 16, 4
# As in `native.cpp`: the greatest word of what is multiplied, and a state of one and of zero as a byte.
MOST, ONE, ZERO = 4095, 127, 128
LOG2_E = math.log2(math.e)
DAMPING, COLUMNS = 0.01, 64
"""Of the mean of the squares of what a layer sees: signal may be another than `typical_signal`."""
TINY = 1e-30
"""For outputs whose weights are all zero."""
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
class Product:
    """Integer weights; what each output's sum is multiplied by, then added to: float32 [outputs]."""

    weights: Array
    scales: Array
    biases: Array


@dataclass(frozen=True, slots=True, eq=False)
class PackedConvolution:
    """A narrow one, of at most 16 outputs, has float32 weights [winlen, inputs, 16] and scales of one, and
    costs little; a wide one is a product over windows, of words."""

    product: Product
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
    """One direction. The gates i, f, o are scaled by -log2(e) and g by -2 log2(e), for powers of two.

    Where the layer before it gives states, `product` is of its inputs and its own states, and `words` is
    None; elsewhere `words` is of its inputs, and `product`, with all biases, of its states.
    """

    words: Product | None
    product: Product
    inputs: int
    units: int
    reverse: bool


@dataclass(frozen=True, slots=True, eq=False)
class PackedLinear:
    """A product, of bytes where the layer before it gives states, and a factor at its end."""

    product: Product
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


@torch.inference_mode()
def pack(network: Network) -> PackedNetwork:
    """Return a fused network's layers packed: convolutions, then LSTMs and linear layers, then CRF scores.

    Raises UnpackableError where it is made otherwise.
    """
    if not any(isinstance(layer, LinearCRFEncoder) for layer in _leaves(network.encoder)):
        raise UnpackableError("no CRF scores at its end")
    convolutions: list[PackedConvolution] = []
    recurrent: list[PackedLSTM | PackedLinear] = []
    layers = [*_leaves(network.encoder)]
    x = torch.from_numpy(typical_signal())[:, None]
    for layer, following in zip(layers, chain(layers[1:], [nn.Identity()]), strict=True):
        bounds = (following.low, following.high) if isinstance(following, Clamp) else (-math.inf, math.inf)
        match layer:
            case Clamp() | Permute(dims=[2, 0, 1]):
                x = layer(x)  # part of the layer before it; the order in which things lie anyway
            case Convolution() if not recurrent:
                convolutions.append(_convolution(layer, Shape(_activation(layer.activation), *bounds)))
                x = layer(x)
            case LSTM() if convolutions and bounds == (-math.inf, math.inf):
                after = layer(x)
                recurrent.append(_lstm(layer, _gives_states(recurrent), x, after))
                x = after
            case Linear() if recurrent:
                recurrent.append(_linear(layer.linear, _gives_states(recurrent), x, Shape(0, *bounds)))
                x = layer(x)
            case LinearCRFEncoder(permute=None) if recurrent and layers[-1] in {layer, following}:
                if layer.scale != 1.0 and bounds != (-math.inf, math.inf):
                    raise UnpackableError("a clamp after a factor")
                shape = Shape(_activation(layer.activation), *bounds)
                scores = _linear(layer.linear, _gives_states(recurrent), x, shape, layer.scale)
                return PackedNetwork(_in_order(convolutions), recurrent, scores, layer.states)
            case _:
                raise UnpackableError(f"a {type(layer).__name__} there")
    raise UnpackableError("its CRF scores are not at its end")


def _gives_states(before: Sequence[PackedLSTM | PackedLinear]) -> bool:
    return bool(before) and isinstance(before[-1], PackedLSTM)


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
        biases = np.zeros(LANES, np.float32)
        biases[:outputs] = _biases(conv.bias, outputs)
        product = Product(weights, np.ones(LANES, np.float32), biases)
    else:
        flat = conv.weight.detach().permute(0, 2, 1).reshape(outputs, winlen * inputs)
        product = _words(flat, _biases(conv.bias, outputs))
    return PackedConvolution(product, inputs, outputs, winlen, conv.stride[0], shape)


def _lstm(layer: LSTM, of_states: bool, x: Tensor, after: Tensor) -> PackedLSTM:
    """Pack an LSTM that makes `after` of `x`, both [T, n, size]."""
    rnn = layer.rnn
    units, inputs = rnn.hidden_size, rnn.input_size
    if units % LANES:
        raise UnpackableError(f"an LSTM of {units} units")
    factors = -LOG2_E * torch.tensor([1.0, 1.0, 2.0, 1.0]).repeat_interleave(units)
    given = {name: value.detach() for name, value in rnn.named_parameters()}

    def by_units(rows: Tensor) -> Tensor:
        """[gate, units / 16, 16, n] -> [units / 16, gate, 16, n]: the four gates of 16 units together."""
        grouped = (rows * factors[:, None]).reshape(PARTS, units // LANES, LANES, -1).transpose(0, 1)
        return grouped.reshape(PARTS * units, -1)

    ours, theirs = by_units(given["weight_hh_l0"]), by_units(given["weight_ih_l0"])
    bias = given["bias_ih_l0"] + given["bias_hh_l0"] if rnn.bias else torch.zeros(PARTS * units)
    biases = by_units(bias[:, None])[:, 0].numpy()
    # What comes in at a step, and the states of the step before.
    steps = (x[:-1], after[1:]) if layer.reverse else (x[1:], after[:-1])
    if of_states:
        product = _bytes(torch.cat([theirs, ours], 1), biases, torch.cat(steps, 2))
        return PackedLSTM(None, product, inputs, units, layer.reverse)
    words = _words(theirs, np.zeros_like(biases))
    return PackedLSTM(words, _bytes(ours, biases, steps[1]), inputs, units, layer.reverse)


def _linear(linear: nn.Linear, of_states: bool, x: Tensor, shape: Shape, scale: float = 1.0) -> PackedLinear:
    outputs, inputs = linear.weight.shape
    weights, biases = linear.weight.detach(), _biases(linear.bias, outputs)
    product = _bytes(weights, biases, x) if of_states else _words(weights, biases)
    return PackedLinear(product, inputs, outputs, shape, scale)


def _bytes(weights: Tensor, biases: Array, seen: Tensor) -> Product:
    """Return a product of states such as `seen` [T, n, inputs]: a weight is of -127 to 127."""
    exact, vectors = weights.double(), seen.flatten(0, 1).double()
    units = exact.abs().amax(1).clamp(min=TINY) / 127
    whole = _rounded(exact / units[:, None], vectors.T @ vectors / len(vectors))
    scales = units / ONE
    # States are counted from ZERO: what that adds to each sum is taken off again.
    offsets = ZERO * scales * whole.sum(1)
    return Product(
        _blocks(whole.numpy().astype(np.int8), 4), *_floats(scales.numpy(), biases - offsets.numpy())
    )


def _rounded(exact: Tensor, moments: Tensor) -> Tensor:
    """Round the columns of `exact` [outputs, inputs], one after another. What that adds to the sums, the
    columns still to be rounded take off, as far as their inputs go together: `moments` [inputs, inputs].

    GPTQ, by Frantar and others, arXiv:2210.17323. By torch, whose threads are the caller's.
    """
    if not exact.isfinite().all() or not moments.isfinite().all():
        raise UnpackableError("weights that are not finite")
    inputs = len(moments)
    damped = moments + DAMPING * max(float(moments.trace()) / inputs, TINY) * torch.eye(inputs).double()
    order = damped.diagonal().argsort(descending=True, stable=True)
    factor = torch.linalg.cholesky(torch.linalg.inv(damped[order][:, order]), upper=True)
    left, whole, errors = exact[:, order], torch.empty_like(exact), torch.empty_like(exact)
    # Block by block: all that is to the right of a block is told once, by a product of matrices.
    for first in range(0, inputs, COLUMNS):
        last = min(first + COLUMNS, inputs)
        for column in range(first, last):
            now = left[:, column].round().clamp(-127, 127)
            whole[:, order[column]] = now
            errors[:, column] = (left[:, column] - now) / factor[column, column]
            left[:, column + 1 : last] -= errors[:, column, None] * factor[column, column + 1 : last]
        left[:, last:] -= errors[:, first:last] @ factor[first:last, last:]
    return whole


def _words(weights: Tensor, biases: Array) -> Product:
    """Return a product of words up to MOST, with weights as fine as an int32 for their sum allows."""
    exact = np.abs(weights.double().numpy())
    room = (2**31 - 1) / MOST - exact.shape[1] / 2
    units = np.maximum(np.maximum(exact.max(1) / (2**15 - 1), exact.sum(1) / room), TINY)
    whole = np.rint(weights.double().numpy() / units[:, None])
    return Product(_blocks(whole.astype(np.int16), 2), *_floats(units, biases))


def _blocks(whole: Array, together: int) -> Array:
    """[outputs, inputs] -> blocks of up to 64 outputs, [inputs / together, parts, 16, together], flat."""
    outputs, inputs = whole.shape
    if inputs % together or outputs % LANES:
        raise UnpackableError(f"a product of {inputs} inputs and {outputs} outputs")
    split = whole.reshape(outputs // LANES, LANES, inputs // together, together)
    blocks = [split[first : first + PARTS] for first in range(0, len(split), PARTS)]
    return np.concatenate([block.transpose(2, 0, 1, 3).ravel() for block in blocks])


def _floats(*arrays: Array) -> Iterator[Array]:
    return (np.ascontiguousarray(array, np.float32) for array in arrays)


def _biases(biases: Tensor | None, outputs: int) -> Array:
    return np.zeros(outputs, np.float32) if biases is None else biases.detach().numpy()
