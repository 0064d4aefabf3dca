"""A read: the current through one pore while one strand passed it.

Immutable, in memory, and ignorant of where it came from: files are `reads.files`, HTTP bodies `reads.wire`.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Calibration:
    """How samples become current: pA = (sample + offset) * scale."""

    offset: float
    scale: float

    def picoamps(self, signal: Signal) -> NDArray[np.float32]:
        """Return `signal` [samples] as current in pA."""
        return (signal.astype(np.float32) + np.float32(self.offset)) * np.float32(self.scale)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where and when a read was taken, as its file says; empty or None where the file is silent."""

    channel: int | None = None
    mux: int | None = None
    read_number: int | None = None
    start_sample: int | None = None
    """Start of the read in samples since the run began."""
    run_id: str = ""
    flow_cell_id: str = ""
    sample_id: str = ""
    run_started: str = ""
    """ISO 8601 time at which the run began."""
    filename: str = ""
    device_id: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """One read. `signal` is int16 [samples], read-only by convention, at `sample_rate` Hz."""

    read_id: str
    signal: Signal
    calibration: Calibration
    sample_rate: float
    origin: Origin = field(default_factory=Origin)

    @property
    def duration_s(self) -> float:
        """How long the strand took, in seconds."""
        return len(self.signal) / self.sample_rate
