"""Where a call lies on a reference, column by column. Needs mappy (extra `map`)."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from reads.errors import ReadFileError
from reads.fasta import check_fasta
from reads.kmers import codes_of, decode

GAP = 4
"""The code of no base, where the other side of a column has one."""
UNKNOWN_REFERENCE, UNKNOWN_CALL = 5, 6
"""The codes of letters that are none of ACGT; they match nothing, not even each other."""


@dataclass(frozen=True, slots=True, eq=False)
class Mapping:
    """The primary alignment of a call, in the direction of the call.

    `reference` and `called` are codes 0 to 3, GAP or unknown, [columns]; `query` int64 [columns] is the base
    of the call at each column or before it. Bases `query_start` to `query_end` of the call are bases `start`
    to `end` of `contig`, on `strand` 1 or -1.
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

    def __init__(self, aligner: Any, sequence: str | None = None) -> None:
        self._aligner = aligner
        # mappy does not give back a sequence that it was not given in a file.
        self._sequence = sequence

    @classmethod
    def of_file(cls, path: Path) -> "Reference":
        """Index a FASTA file. Raises ModelError without mappy, ReadFileError where it is no FASTA."""
        mappy = _mappy()
        check_fasta(path)  # else mappy complains on stderr by itself
        aligner = mappy.Aligner(str(path), preset="map-ont")
        if not aligner or not aligner.seq_names:
            raise ReadFileError(path, "no sequence in it: not FASTA, or empty")
        return cls(aligner)

    @classmethod
    def of_codes(cls, codes: NDArray[np.uint8]) -> "Reference":
        """Index one sequence. Raises ModelError without mappy."""
        sequence = decode(codes)
        return cls(_mappy().Aligner(seq=sequence, preset="map-ont"), sequence)

    def map(self, sequence: str) -> Mapping | None:
        """Return the primary alignment of a call, or None where it maps nowhere."""
        for hit in self._aligner.map(sequence) if sequence else ():
            if hit.is_primary:
                return self._columns(sequence, hit)
        return None

    def _columns(self, sequence: str, hit: Any) -> Mapping:
        # The aligner's columns run along the reference; turned round, along the call.
        if self._sequence is None:
            target = _encode(self._aligner.seq(hit.ctg, hit.r_st, hit.r_en), UNKNOWN_REFERENCE)
        else:
            target = _encode(self._sequence[hit.r_st : hit.r_en], UNKNOWN_REFERENCE)
        bases = _encode(sequence[hit.q_st : hit.q_en], UNKNOWN_CALL)
        if hit.strand < 0:
            bases = _turn(bases)
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


def _mappy() -> Any:
    try:
        return import_module("mappy")
    except ImportError as error:
        raise ModelError(
            "mapping needs mappy, which needs a C compiler: pip install 'fiveways[map]'"
        ) from error


def _encode(sequence: str, unknown: int) -> NDArray[np.uint8]:
    codes = codes_of(sequence)
    return np.where(codes > 3, unknown, codes).astype(np.uint8)


def _turn(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.where(codes < GAP, 3 - np.minimum(codes, 3), codes)[::-1].astype(np.uint8)
