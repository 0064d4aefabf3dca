"""A recurrent network on `native.cpp`: the scores that PyTorch gives, several times faster.

Scores differ from float32's by the rounding of weights, activations and states to bfloat16. A row's scores do
not depend on its company. A `NativeNetwork` may run in many threads at once: each call is one core's work.
"""

import numpy as np
from numpy.typing import NDArray

from models.native.library import library
from models.native.packing import (
    Array,
    PackedConvolution,
    PackedLinear,
    PackedLSTM,
    PackedNetwork,
    Shape,
    UnpackableError,
    pack,
)
from models.network import Network


class NativeNetwork:
    """A packed network, to be called."""

    def __init__(self, packed: PackedNetwork) -> None:
        """Take a packed network; RuntimeError where there is no compiled half."""
        loaded = library()
        if loaded is None:
            raise RuntimeError("the compiled half of models.native was not built, or not for this processor")
        self._library = loaded
        self._packed = packed

    def scores(self, count: int, samples: int) -> NDArray[np.float32]:
        """Return room for the scores of `count` chunks of `samples`, float32 [count, T, states, 4 or 5]."""
        for layer in self._packed.convolutions:
            samples = layer.steps(samples)
        states = self._packed.states
        return np.empty((count, samples, states, self._packed.scores.outputs // states), np.float32)

    def score(self, batch: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Fill `out`, which `scores` made or a slice of it, with the scores of `batch` [n, samples]."""
        x = self._convolve(batch)
        for layer in self._packed.recurrent:
            x = self._lstm(x, layer) if isinstance(layer, PackedLSTM) else self._linear(x, layer)
        self._scores(x, self._packed.scores, out)

    def _convolve(self, batch: NDArray[np.float32]) -> Array:
        """[n, samples] -> bfloat16 [T, n, size]: row by row, so that what lies between stays in the cache."""
        count, samples = batch.shape
        layers = self._packed.convolutions
        lengths = [samples]
        for layer in layers:
            lengths.append(layer.steps(lengths[-1]))
        sources = [_padded(length, layer) for length, layer in zip(lengths, layers, strict=False)]
        # A source's own part, between the zeros of its padding, is where the layer before it writes.
        inner = [
            source[layer.padding : layer.padding + length]
            for source, layer, length in zip(sources, layers, lengths, strict=False)
        ]
        out = np.empty((lengths[-1], count, layers[-1].outputs), np.uint16)
        for row in range(count):
            inner[0][:, 0] = batch[row]
            for layer, source, target in zip(layers, sources, [*inner[1:], out[:, row]], strict=True):
                self._convolution(layer, source, target)
        return out

    def _convolution(self, layer: PackedConvolution, source: Array, target: Array) -> None:
        steps, weights, biases = len(target), layer.weights.ctypes.data, layer.biases.ctypes.data
        if layer.is_narrow:
            to_halves = target.dtype == np.uint16
            self._library.native_convolution(
                *(source.ctypes.data, steps, layer.inputs, layer.outputs, layer.winlen, layer.stride),
                *(weights, biases, *_plain(layer.shape)),
                *((None, target.ctypes.data) if to_halves else (target.ctypes.data, None)),
            )
        else:
            self._library.native_linear(
                *(source.ctypes.data, layer.stride * layer.inputs, steps, layer.winlen * layer.inputs),
                *(layer.outputs, weights, biases, *_plain(layer.shape)),
                *(target.ctypes.data, target.strides[0] // target.itemsize),
            )

    def _lstm(self, x: Array, layer: PackedLSTM) -> Array:
        steps, count, _ = x.shape
        out = np.empty((steps, count, layer.units), np.uint16)
        cells = np.empty((count, layer.units), np.float32)
        self._library.native_lstm(
            *(x.ctypes.data, steps, count, layer.inputs, layer.units, int(layer.reverse)),
            *(layer.weights.ctypes.data, layer.biases.ctypes.data, cells.ctypes.data, out.ctypes.data),
        )
        return out

    def _linear(self, x: Array, layer: PackedLinear) -> Array:
        steps, count, _ = x.shape
        out = np.empty((steps, count, layer.outputs), np.uint16)
        self._library.native_linear(
            *(x.ctypes.data, layer.inputs, steps * count, layer.inputs, layer.outputs),
            *(layer.weights.ctypes.data, layer.biases.ctypes.data, *_plain(layer.shape)),
            *(out.ctypes.data, layer.outputs),
        )
        return out

    def _scores(self, x: Array, layer: PackedLinear, out: NDArray[np.float32]) -> None:
        steps, count, _ = x.shape
        self._library.native_scores(
            *(x.ctypes.data, steps, count, layer.inputs, layer.outputs),
            *(layer.weights.ctypes.data, layer.biases.ctypes.data, *_plain(layer.shape), layer.scale),
            out.ctypes.data,
        )


def native(network: Network) -> NativeNetwork | None:
    """Return a fused network, on the CPU, ready to run natively; None where it or this machine cannot."""
    if library() is None:
        return None
    try:
        return NativeNetwork(pack(network))
    except UnpackableError:
        return None


def _padded(samples: int, layer: PackedConvolution) -> Array:
    """Return zeros for what goes into a layer, [padding + samples + padding, inputs]."""
    kind = np.float32 if layer.is_narrow else np.uint16
    return np.zeros((samples + 2 * layer.padding, layer.inputs), kind)


def _plain(shape: Shape) -> tuple[int, float, float]:
    return shape.activation, shape.low, shape.high
