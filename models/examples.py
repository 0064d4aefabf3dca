"""What a network learns from: chunks of signal with the bases that passed during them.

Three sources, to be mixed: real reads aligned to a reference, random sequence spelled from the real visits
of such reads to each k-mer, and `reads.simulate`. All draw from a generator that is handed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from reads.kmers import kmers
from reads.levels import LONGEST_DWELL, Levels
from reads.simulate import Pore, drift, noise, play, strand_levels

CENTRE = 2
"""While a 6-mer is read, it is its base 2 (from 0) that counts as passing."""
SLACK = 8
"""Bases by which an alignment may be off where examples hold the lattice near it."""


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """`signal` float32 [samples]; `sequence` codes [k + bases], the first k passed just before the chunk;
    `passed` int64 [samples]: how many of the others have begun at each sample."""

    signal: NDArray[np.float32]
    sequence: NDArray[np.uint8]
    passed: NDArray[np.int64]

    def bounds(self, stride: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the lattice positions (low, high), int64 [steps], near the alignment."""
        held = self.passed[stride - 1 :: stride]
        low = np.maximum(held - SLACK, 0)
        high = np.minimum(held + SLACK + 1, self.passed[-1] + 1)
        low[-1] = min(low[-1], high[-1] - 1)
        return low, high


class Source(Protocol):
    """Anything that examples come from."""

    def draw(self, rng: np.random.Generator) -> Example:
        """Return the next example."""


@dataclass(frozen=True, slots=True, eq=False)
class AlignedRead:
    """A read of known sequence: `signal` float32 [samples], normalised as the model will see it; `codes`
    [bases]; `starts` int64 [k-mers + 1]: k-mer i is samples starts[i] to starts[i + 1]."""

    signal: NDArray[np.float32]
    codes: NDArray[np.uint8]
    starts: NDArray[np.int64]


def cut(
    signal: NDArray[np.float32],
    codes: NDArray[np.uint8],
    spans: NDArray[np.int64],
    samples: int,
    context: int,
) -> Example:
    """Return the first `samples` of `signal`, whose k-mers last `spans`; the first begins at sample 0.

    `codes` begins `context` bases before the base that the first k-mer stands for.
    """
    begins = np.cumsum(spans) - spans
    bases = int(np.searchsorted(begins, samples))
    passed = np.searchsorted(begins[:bases], np.arange(samples), side="right")
    return Example(signal[:samples], codes[: context + bases], passed.astype(np.int64))


def augment(signal: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return `signal` as another pore would have shown it: its own scale, offset and a little noise."""
    scaled = signal * np.float32(np.exp(rng.normal(0, 0.07))) + np.float32(rng.normal(0, 0.10))
    return scaled + rng.standard_normal(len(signal)).astype(np.float32) * np.float32(abs(rng.normal(0, 0.08)))


class RealSource:
    """Windows of real reads, played faster or slower."""

    def __init__(self, reads: Sequence[AlignedRead], samples: int, context: int) -> None:
        self._reads = reads
        self._samples = samples
        self._context = context
        weights = np.array([float(read.starts[-1] - read.starts[0]) for read in reads])
        self._cumulative = np.cumsum(weights / weights.sum())

    def draw(self, rng: np.random.Generator) -> Example:
        """Return a window that begins with a k-mer."""
        while True:
            index = int(np.searchsorted(self._cumulative, rng.random()))
            read = self._reads[min(index, len(self._reads) - 1)]
            speed = float(np.exp(rng.normal(0, 0.10)))
            needed = int(self._samples * speed) + 2
            lead = self._context - CENTRE
            last = int(np.searchsorted(read.starts, read.starts[-1] - needed)) - 1
            if last <= lead:
                continue
            first = int(rng.integers(lead, last))
            begin = int(read.starts[first])
            window = read.signal[begin : begin + needed]
            at = np.arange(self._samples) * speed
            played = np.interp(at, np.arange(len(window)), window).astype(np.float32)
            begins = np.round(
                (read.starts[first : min(first + needed, len(read.starts) - 1)] - begin) / speed
            ).astype(np.int64)
            begins = begins[: int(np.searchsorted(begins, self._samples)) + 1]
            spans = np.diff(begins, append=begins[-1] + self._samples)
            return cut(augment(played, rng), read.codes[first - lead :], spans, self._samples, self._context)


class SplicedSource:
    """Random sequence, each k-mer played from a real visit to it: real dwell and noise, any sequence."""

    def __init__(
        self, reads: Sequence[AlignedRead], k: int, samples: int, context: int, levels: Levels
    ) -> None:
        numbers = np.concatenate([kmers(read.codes, k) for read in reads])
        begins = np.concatenate([read.starts[:-1] for read in reads])
        spans = np.concatenate([np.diff(read.starts) for read in reads])
        offsets = np.cumsum([0, *(len(read.signal) for read in reads)])[:-1]
        owner = np.repeat(np.arange(len(reads)), [len(read.starts) - 1 for read in reads])
        # A visit of one sample is the alignment's doing, not the pore's.
        keep = (spans > 1) & (spans < LONGEST_DWELL)
        order = np.argsort(numbers[keep], kind="stable")
        self._signal = np.concatenate([read.signal for read in reads])
        self._begins = (begins + offsets[owner])[keep][order]
        self._spans = spans[keep][order]
        self._edges = np.searchsorted(numbers[keep][order], np.arange(4**k + 1))
        self._k = k
        self._samples = samples
        self._context = context
        self._pore = Pore()
        self._fallback = SimulatedSource(levels, samples, context)

    def draw(self, rng: np.random.Generator) -> Example:
        """Return a window of a new random strand."""
        lead = self._context - CENTRE
        codes = rng.integers(0, 4, self._samples // 4 + lead + self._k).astype(np.uint8)
        numbers = kmers(codes, self._k)[lead:]
        low, high = self._edges[numbers], self._edges[numbers + 1]
        if (low == high).any():
            return self._fallback.draw(rng)
        pick = low + (rng.random(len(numbers)) * (high - low)).astype(np.int64)
        spans = self._spans[pick]
        ends = np.cumsum(spans)
        if ends[-1] < self._samples:
            return self._fallback.draw(rng)
        at = np.repeat(self._begins[pick] - (ends - spans), spans)[: self._samples] + np.arange(self._samples)
        walk = drift(self._samples, rng, self._pore.drift_sd).astype(np.float32)
        return cut(augment(self._signal[at] + walk, rng), codes, spans, self._samples, self._context)


class SimulatedSource:
    """Windows of `reads.simulate`."""

    def __init__(self, levels: Levels, samples: int, context: int) -> None:
        self._levels = levels
        self._samples = samples
        self._context = context
        self._pore = Pore(speed_sd=0.12)

    def draw(self, rng: np.random.Generator) -> Example:
        """Return a window of a new random strand."""
        levels, pore, lead = self._levels, self._pore, self._context - CENTRE
        codes = rng.integers(0, 4, self._samples // 2 + lead + levels.k).astype(np.uint8)
        visits, spans = strand_levels(kmers(codes, levels.k)[lead:], rng, levels, pore)
        ideal, starts = play(visits, spans)
        factor = np.exp(rng.normal(0, pore.noise_sd))
        current = ideal[: self._samples] + factor * noise(self._samples, rng, levels)
        current += drift(self._samples, rng, pore.drift_sd)
        signal = augment(current.astype(np.float32), rng)
        return cut(signal, codes, np.diff(starts), self._samples, self._context)
