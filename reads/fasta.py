"""References: FASTA files, plain or gzipped, as codes."""

import gzip
import re
import zlib
from pathlib import Path

import numpy as np
import pysam
from numpy.typing import NDArray

from reads.errors import ReadFileError
from reads.kmers import encode

_AMBIGUOUS = re.compile("[RYSWKMBDHVNryswkmbdhvn]")


_GZIP = b"\x1f\x8b"


def check_fasta(path: Path) -> None:
    """Raise ReadFileError where there is no such file, or it does not begin as FASTA does."""
    if not path.is_file():
        raise ReadFileError(path, "there is no such file")
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
        with gzip.open(path) if packed else path.open("rb") as file:
            begins = file.read(4096).lstrip()[:1]
    except (OSError, EOFError, zlib.error) as error:
        raise ReadFileError(path, f"cannot be read as FASTA: {error}") from error
    if begins != b">":
        raise ReadFileError(path, "no sequence in it: not FASTA, or empty")


def read_fasta(path: Path) -> dict[str, NDArray[np.uint8]]:
    """Return codes [bases] by name, in the file's order; ReadFileError where it is not FASTA.

    IUPAC letters that stand for several bases become A; any other letter is an error.
    """
    check_fasta(path)
    contigs: dict[str, NDArray[np.uint8]] = {}
    try:
        with pysam.FastxFile(str(path)) as records:
            for record in records:
                contigs[record.name] = encode(_AMBIGUOUS.sub("A", record.sequence or ""))
    except (OSError, ValueError) as error:
        raise ReadFileError(path, f"cannot be read as FASTA: {error}") from error
    if not any(len(codes) for codes in contigs.values()):
        raise ReadFileError(path, "no sequence in it: not FASTA, or empty")
    return contigs
