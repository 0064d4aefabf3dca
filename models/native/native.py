"""A recurrent network on `native.cpp`: the scores that PyTorch gives, several times faster.

Scores differ from float32's by the rounding of states, and of the weights that multiply them, to 8 bits. A
row's scores do not depend on its company. A `NativeNetwork` may run in many threads at once: each call is one
core's work.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.native.library import library
from models.native.packing import (
    Array,
    PackedConvolution,
    PackedLinear,
    PackedLSTM,
    PackedNetwork,
    Product,
    Shape,
    UnpackableError,
    pack,
)
from models.network import Network

ROWS = 6
"""As in `native.cpp`: rows that are multiplied at once."""


@dataclass(frozen=True, slots=True, eq=False)
class States:
    """What an LSTM gives the next layer: bytes [T, n, size]."""

    values: Array

    @property
    def plain(self) -> tuple[int, None]:
        """Where they lie, and no scales."""
        return self.values.ctypes.data, None


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """What any other layer gives the next: 16-bit words [T, n, size], and a scale for each vector [T, n]."""

    values: Array
    scales: Array

    @property
    def plain(self) -> tuple[int, int]:
        """Where they and their scales lie."""
        return self.values.ctypes.data, self.scales.ctypes.data


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
        x: States | Words = self._convolve(batch)
        for layer in self._packed.recurrent:
            x = self._lstm(x, layer) if isinstance(layer, PackedLSTM) else self._linear(x, layer)
        self._scores(x, self._packed.scores, out)

    def _convolve(self, batch: NDArray[np.float32]) -> Words:
        """[n, samples] -> words [T, n, size]: row by row, so that what lies between stays in the cache."""
        count, samples = batch.shape
        *narrow, wide = layers = self._packed.convolutions
        lengths = [samples]
        for layer in layers:
            lengths.append(layer.steps(lengths[-1]))
        sources = [
            np.zeros((length + 2 * layer.padding, layer.inputs), np.float32)
            for length, layer in zip(lengths, layers, strict=False)
        ]
        # A source's own part, between the zeros of its padding, is where the layer before it writes.
        inner = [
            source[layer.padding : layer.padding + length]
            for source, layer, length in zip(sources, layers, lengths, strict=False)
        ]
        out = _words(lengths[-1], count, wide.outputs)
        for row in range(count):
            inner[0][:, 0] = batch[row]
            for layer, source, target in zip(narrow, sources, inner[1:], strict=False):
                self._narrow_convolution(layer, source, target)
            self._wide_convolution(wide, sources[-1], out, row)
        return out

    def _narrow_convolution(self, layer: PackedConvolution, source: Array, target: Array) -> None:
        weights, _, biases = _product(layer.product)
        self._library.native_convolution(
            *(source.ctypes.data, len(target), layer.inputs, layer.outputs, layer.winlen, layer.stride),
            *(weights, biases, *_plain(layer.shape), target.ctypes.data),
        )

    def _wide_convolution(self, layer: PackedConvolution, source: Array, out: Words, row: int) -> None:
        steps, count, _ = out.values.shape
        step, inputs = layer.stride * layer.inputs, layer.winlen * layer.inputs
        room = np.empty(self._library.native_wide_room(step, inputs, layer.outputs), np.float32)
        self._library.native_wide_convolution(
            *(source.ctypes.data, steps, step, inputs, layer.outputs),
            *(*_product(layer.product), *_plain(layer.shape), room.ctypes.data),
            *(out.values[:, row].ctypes.data, count * layer.outputs, out.scales[:, row].ctypes.data, count),
        )

    def _lstm(self, x: States | Words, layer: PackedLSTM) -> States:
        steps, count, _ = x.values.shape
        # And the states before the first step.
        out = np.empty((steps + 1, count, layer.units), np.uint8)
        cells = np.empty((count, layer.units), np.float32)
        words = (None, None) if layer.words is None else _product(layer.words)[:2]
        self._library.native_lstm(
            *(*x.plain, steps, count, layer.inputs, layer.units, int(layer.reverse)),
            *(*words, *_product(layer.product), cells.ctypes.data, out.ctypes.data),
        )
        return States(out[:-1] if layer.reverse else out[1:])

    def _linear(self, x: States | Words, layer: PackedLinear) -> Words:
        steps, count, _ = x.values.shape
        out = _words(steps, count, layer.outputs)
        room = np.empty((ROWS, layer.outputs), np.float32)
        self._library.native_linear(
            *(*x.plain, steps * count, layer.inputs, layer.outputs),
            *(*_product(layer.product), *_plain(layer.shape), room.ctypes.data, *out.plain),
        )
        return out

    def _scores(self, x: States | Words, layer: PackedLinear, out: NDArray[np.float32]) -> None:
        steps, count, _ = x.values.shape
        self._library.native_scores(
            *(*x.plain, steps, count, layer.inputs, layer.outputs),
            *(*_product(layer.product), *_plain(layer.shape), layer.scale, out.ctypes.data),
        )


def native(network: Network) -> NativeNetwork | None:
    """Return a fused network, on the CPU, ready to run natively; None where it or this machine cannot."""
    if library() is None:
        return None
    try:
        return NativeNetwork(pack(network))
    except UnpackableError:
        return None


def _words(steps: int, count: int, size: int) -> Words:
    return Words(np.empty((steps, count, size), np.int16), np.empty((steps, count), np.float32))


def _product(product: Product) -> tuple[int, int, int]:
    return product.weights.ctypes.data, product.scales.ctypes.data, product.biases.ctypes.data


def _plain(shape: Shape) -> tuple[int, float, float]:
    return shape.activation, shape.low, shape.high
