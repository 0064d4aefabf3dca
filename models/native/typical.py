"""Signal of the kind that networks take: it shows what goes together in a layer whose weights are rounded.

Simulated and always the same, so that a model's weights are rounded the same way wherever it is loaded.
"""

from functools import cache
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from models.scaling import normalise
from reads.simulate import simulate_reads

SEED, READS, READ_BASES, CHUNK_SAMPLES, CHUNKS = 1, 4, 1000, 1000, 16


@cache
def typical_signal() -> NDArray[np.float32]:
    """Return chunks of a few simulated reads, normalised, float32 [CHUNKS, CHUNK_SAMPLES]."""
    made = islice(simulate_reads(seed=SEED, mean_bases=READ_BASES), READS)
    signal = np.concatenate([normalise(one.read.signal) for one in made])
    starts = np.linspace(0, len(signal) - CHUNK_SAMPLES, CHUNKS).astype(int)
    return np.stack([signal[start : start + CHUNK_SAMPLES] for start in starts])
