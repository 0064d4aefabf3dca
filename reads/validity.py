"""Which reads can be used, whatever their file says.

Pure. A reason is a phrase that completes `file: read: ...`; the limits keep damaged lengths and rates from
becoming gigabytes of zeros and answers of no meaning.
"""

import math
import re
from collections.abc import Iterator

import numpy as np

from reads.read import Read

MAX_SIGNAL_SAMPLES = 1 << 28
"""Fifteen hours of one pore at 5 kHz: no strand takes as long."""
MAX_SAMPLE_RATE_HZ = 1e6
READ_ID = re.compile(r"[!-?A-~]{1,254}")
"""What SAM allows as the name of a read."""


def why_unusable(read: Read, most_samples: int = MAX_SIGNAL_SAMPLES) -> str | None:
    """Return what is wrong with `read`, or None where nothing is."""
    return next(_faults(read, most_samples), None)


def _faults(read: Read, most_samples: int) -> Iterator[str]:
    signal, calibration = read.signal, read.calibration
    if not READ_ID.fullmatch(read.read_id):
        yield f"the read id {read.read_id[:60]!r} cannot name a SAM record: {READ_ID.pattern}"
    if signal.ndim != 1 or signal.dtype != np.int16:
        yield f"the signal is {signal.dtype} of shape {signal.shape}, not int16 samples in one row"
    if not len(signal):
        yield "the signal is empty"
    if len(signal) > most_samples:
        yield too_long(len(signal), most_samples)
    if not (math.isfinite(calibration.offset) and 0 < calibration.scale < math.inf):
        yield f"the calibration is impossible: offset {calibration.offset}, scale {calibration.scale} pA"
    if not 0 < read.sample_rate <= MAX_SAMPLE_RATE_HZ:
        yield f"the sample rate is impossible: {read.sample_rate} Hz"


def too_long(samples: int, most: int) -> str:
    """Say that `samples` is too many, for those who learn a length before they have a signal."""
    return f"the signal is said to be {samples} samples long; {most} is the most a read may have"
