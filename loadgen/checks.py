"""Whether answers are the right ones: a sampled share of them, held against another call of the same read.

The other call is that of a file which `fiveways call` wrote, where there is one, and else the first answer
for that read that was looked at: the service may then be wrong, but not now one way and now another.
Sequences are compared, not qualities, whose last digit depends on which reads share a batch. Knows no
sockets.
"""

import hashlib
import random
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path as File

import pysam

from loadgen.errors import CallError, CheckError
from loadgen.plan import NULL

DIGEST_BYTES = 16
"""What is kept of a sequence."""


def read_expected(file: File) -> dict[str, bytes]:
    """Return what the calls in a FASTQ or FASTA file, gzipped or not, say of each read. Raises CheckError."""
    try:
        with pysam.FastxFile(str(file)) as calls:
            expected = {call.name: _digest(call.sequence or "") for call in calls}
    except (OSError, ValueError) as error:
        raise CheckError(f"{file}: {error}; name a FASTQ that `fiveways call` wrote") from error
    if not expected:
        raise CheckError(f"{file}: no calls in it; name a FASTQ that `fiveways call` wrote")
    return expected


def missing_reads(read_ids: Collection[str], expected: Mapping[str, bytes]) -> Iterator[str]:
    """Yield the reads that `expected` does not know. Raises CheckError where it knows none of them."""
    missing = [read_id for read_id in read_ids if read_id not in expected]
    if len(missing) == len(read_ids):
        raise CheckError(
            f"none of the reads sent is among the expected calls, such as {missing[0]}; call the same reads,"
            " cut as they are sent"
        )
    yield from missing


class Checks:
    """The checks of one process: a `share` of the answers, which `seed` picks."""

    def __init__(self, share: float, expected: Mapping[str, bytes], seed: str) -> None:
        self._share = share
        self._expected = expected
        self._chance = random.Random(seed)
        self._first: dict[tuple[str, str], bytes] = {}

    def check(self, model: str, read_id: str, sequence: str) -> bool:
        """Say whether this answer was compared, which the first one for a read is with nothing. Raises
        CallError where it differs."""
        if self._chance.random() >= self._share:
            return False
        digest = _digest(sequence)
        offline = self._expected.get(read_id) if model != NULL else None
        other = offline or self._first.get((model, read_id))
        if other is None:
            self._first[model, read_id] = digest
            return False
        if digest != other:
            kind = "the expected call" if offline else "the first answer for it"
            raise CallError(f"wrong answer: the sequence of a read is not that of {kind}")
        return True


def _digest(sequence: str) -> bytes:
    return hashlib.blake2b(sequence.encode("ascii", "replace"), digest_size=DIGEST_BYTES).digest()
