"""How far calls are from what was sequenced: matches over alignment columns, as `models.accuracy` has it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rapidfuzz.distance import Levenshtein

from models.mapping import Reference


def identity(call: str, truth: str) -> float:
    """Return matches over columns of the alignment with the fewest edits, 0 to 1."""
    columns = matches = 0
    for operation in Levenshtein.opcodes(truth, call):
        width = max(operation.src_end - operation.src_start, operation.dest_end - operation.dest_start)
        columns += width
        matches += width if operation.tag == "equal" else 0
    return matches / columns if columns else 0.0


def percent_identity(calls: Sequence[str], truths: Sequence[str]) -> float:
    """Return the mean identity of calls to the whole of their true sequences [%]."""
    return 100 * float(np.mean([identity(call, truth) for call, truth in zip(calls, truths, strict=True)]))


def mapped_identity(calls: Sequence[str], reference: Path) -> float:
    """Return the mean identity of the calls that map [%]; nan where none does. Raises ModelError."""
    index = Reference.of_file(reference)
    found = [index.map(call) for call in calls]
    mapped = [mapping.identity for mapping in found if mapping]
    return 100 * float(np.mean(mapped)) if mapped else float("nan")
