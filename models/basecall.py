"""What comes out: the bases of one read."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ERROR = 10.0 ** ((33.0 - np.arange(256)) / 10.0)
"""The error probability that each byte of a qstring stands for."""


@dataclass(frozen=True, slots=True, eq=False)
class Basecall:
    """The call of one read.

    `moves` is uint8 [steps]: 1 where a step emitted a base, so `moves.sum() == len(sequence)`; a step is
    `stride` samples. `qstring` is Phred+33, one character a base; the first `q_start` do not count in the
    mean, where there are more.
    """

    sequence: str
    qstring: str
    moves: NDArray[np.uint8]
    stride: int
    samples: int
    q_start: int = 0

    @property
    def mean_q(self) -> float:
        """The mean quality as the field reports it: the Phred score of the mean error probability."""
        return mean_quality(self.qstring[self.q_start :] or self.qstring)


def mean_quality(qstring: str) -> float:
    """Return the Phred score of the mean error probability of a qstring; 0 of an empty one."""
    if not qstring:
        return 0.0
    counts = np.bincount(np.frombuffer(qstring.encode(), np.uint8), minlength=len(_ERROR))
    return float(-10.0 * np.log10(counts @ _ERROR / len(qstring)))
