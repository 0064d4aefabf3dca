"""References: FASTA files, plain or gzipped, as codes."""

import re
from pathlib import Path

import numpy as np
import pysam
from numpy.typing import NDArray

from reads.errors import ReadFileError
from reads.kmers import encode

_AMBIGUOUS = re.compile("[RYSWKMBDHVNryswkmbdhvn]")


def read_fasta(path: Path) -> dict[str, NDArray[np.uint8]]:
    """Return codes [bases] by name, in the file's order; ReadFileError where it is not FASTA.

    IUPAC letters that stand for several bases become A; any other letter is an error.
    """
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
