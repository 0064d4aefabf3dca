"""Calls as files hold them, of any basecaller: FASTQ, SAM and BAM, one at a time.

Knows no signal: what a read's call is, and nothing else of the read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pysam

from models.basecall import mean_quality
from reads.errors import ReadFileError

FASTQ_SUFFIXES = (".fastq", ".fq", ".fastq.gz", ".fq.gz")
ALIGNMENT_SUFFIXES = (".sam", ".bam")


@dataclass(frozen=True, slots=True)
class Called:
    """The call of one read; `qstring` is Phred+33, one character a base, or empty where the file has none."""

    read_id: str
    sequence: str
    qstring: str

    @property
    def mean_q(self) -> float | None:
        """The Phred score of the mean error probability, None where there are no qualities."""
        return mean_quality(self.qstring) if self.qstring else None


def holds_calls(path: Path) -> bool:
    """Return whether the name of a file says that calls are in it."""
    return path.name.lower().endswith((*FASTQ_SUFFIXES, *ALIGNMENT_SUFFIXES))


def read_calls(path: Path) -> Iterator[Called]:
    """Yield the calls of a file in its order, as the strand passed the pore, once each.

    Raises ReadFileError where it is no file of calls, is damaged, or holds a read twice. Secondary and
    supplementary alignments are not calls of their own and are passed over.
    """
    if not holds_calls(path):
        known = ", ".join((*FASTQ_SUFFIXES, *ALIGNMENT_SUFFIXES))
        raise ReadFileError(path, f"calls are read from files that end in {known}")
    if not path.is_file():
        raise ReadFileError(path, "there is no such file")
    is_fastq = path.name.lower().endswith(FASTQ_SUFFIXES)
    seen: set[str] = set()
    verbosity = pysam.set_verbosity(0)  # htslib reports failures on stderr; they are raised as well
    try:
        for called in _fastq(path) if is_fastq else _alignments(path):
            if called.read_id in seen:
                raise ReadFileError(path, f"read {called.read_id} is called twice")
            seen.add(called.read_id)
            yield called
    except (OSError, ValueError) as error:
        raise ReadFileError(path, f"cannot be read as calls: {error}") from error
    finally:
        pysam.set_verbosity(verbosity)
    if not seen:
        raise ReadFileError(path, "no call in it")


def _fastq(path: Path) -> Iterator[Called]:
    with pysam.FastxFile(str(path)) as records:
        for record in records:
            yield Called(record.name, record.sequence or "", record.quality or "")


def _alignments(path: Path) -> Iterator[Called]:
    with pysam.AlignmentFile(str(path), check_sq=False) as records:
        for record in records:
            if record.is_secondary or record.is_supplementary:
                continue
            phred = record.get_forward_qualities()
            qstring = "" if phred is None else "".join(chr(q + 33) for q in phred)
            yield Called(record.query_name, record.get_forward_sequence() or "", qstring)
