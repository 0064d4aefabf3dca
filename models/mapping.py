"""Where a call lies on a reference, column by column. Needs mappy (extra `map`)."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.basecall import Basecall
from models.errors import ModelError
from reads.errors import ReadFileError
from reads.kmers import encode, reverse_complement

GAP = 4
"""The code of no base, where the other side of a column has one."""


@dataclass(frozen=True, slots=True, eq=False)
class Mapping:
    """The primary alignment of a call, in the direction of the call.

    `reference` and `called` are codes 0 to 3 or GAP, [columns]; `query` int64 [columns] is the call's base at
    each column or before it. Bases `query_start` to `query_end` of the call are bases `start` to `end` of
    `contig`, on `strand` 1 or -1.
    """

    contig: str
    start: int
    end: int
    strand: int
    query_start: int
    query_end: int
    reference: NDArray[np.uint8]
    called: NDArray[np.uint8]
    query: NDArray[np.int64]

    @property
    def identity(self) -> float:
        """Matches over alignment columns."""
        return float(np.mean(self.reference == self.called))


class Reference:
    """An indexed reference to map calls to."""

    def __init__(self, path: Path) -> None:
        """Index a FASTA file. Raises ModelError without mappy, ReadFileError where it is no FASTA."""
        try:
            mappy = import_module("mappy")
        except ImportError as error:
            raise ModelError(
                "mapping needs mappy, which needs a C compiler: pip install 'fiveways[map]'"
            ) from error
        if not path.is_file():
            raise ReadFileError(path, "there is no such file")
        self._aligner: Any = mappy.Aligner(str(path), preset="map-ont")
        if not self._aligner or not self._aligner.seq_names:
            raise ReadFileError(path, "no sequence in it: not FASTA, or empty")

    def map(self, call: Basecall) -> Mapping | None:
        """Return the primary alignment of a call, or None where it maps nowhere."""
        for hit in self._aligner.map(call.sequence):
            if hit.is_primary:
                return self._columns(call, hit)
        return None

    def _columns(self, call: Basecall, hit: Any) -> Mapping:
        # The aligner's columns run along the reference; turned round, along the call.
        target = encode(self._aligner.seq(hit.ctg, hit.r_st, hit.r_en))
        bases = encode(call.sequence)[hit.q_st : hit.q_en]
        if hit.strand < 0:
            bases = reverse_complement(bases)
        in_target = np.concatenate([np.full(length, op != 1) for length, op in hit.cigar])
        in_query = np.concatenate([np.full(length, op != 2) for length, op in hit.cigar])
        reference = np.full(len(in_target), GAP, np.uint8)
        called = np.full(len(in_target), GAP, np.uint8)
        reference[in_target] = target
        called[in_query] = bases
        if hit.strand < 0:
            reference, called = _turn(reference), _turn(called)
            in_query = in_query[::-1]
        query = hit.q_st + np.maximum(np.cumsum(in_query) - 1, 0)
        return Mapping(
            hit.ctg,
            hit.r_st,
            hit.r_en,
            hit.strand,
            hit.q_st,
            hit.q_en,
            reference,
            called,
            query.astype(np.int64),
        )


def _turn(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.where(codes == GAP, GAP, 3 - np.minimum(codes, 3))[::-1].astype(np.uint8)
