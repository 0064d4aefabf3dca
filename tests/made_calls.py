"""Calls that tests make themselves; also imported by the processes that tests start."""

import numpy as np
from made_reads import made_read

from models.basecall import Basecall


def made_call(sequence: str, qstring: str, moves: list[int]) -> Basecall:
    """Return a call of a whole `made_read`."""
    return Basecall(sequence, qstring, np.array(moves, np.uint8), stride=5, samples=2000)


CALLS = [
    (made_read(1), made_call("ACGTA", "+5?I&", [1, 0, 1, 1, 1, 1])),
    (made_read(2), made_call("", "", [0, 0, 0, 0])),
    (made_read(3, run_id="second"), made_call("GG", "!~", [1, 1])),
]
"""Three reads of two runs, one of them without a base."""
