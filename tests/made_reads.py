"""Reads that tests make themselves: of known content, so that what comes back can be compared."""

from uuid import UUID

import numpy as np

from reads.read import Calibration, Origin, Read


def made_read(seed: int, samples: int = 2000, **origin: object) -> Read:
    """Return a read that looks like current, with everything that a file can say of it."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(-60, 60, samples // 10 + 1).repeat(10)[:samples]
    facts = {
        "channel": 1 + seed % 512,
        "mux": 1 + seed % 4,
        "read_number": 100 + seed,
        "start_sample": 4000 * seed,
        "run_id": "run",
        "flow_cell_id": "FLOW",
        "sample_id": "sample",
        "run_started": "2024-05-06T07:08:09+00:00",
        "device_id": "MN1",
    }
    return Read(
        read_id=str(UUID(bytes=rng.bytes(16), version=4)),
        signal=(500 + steps + rng.integers(-5, 5, samples)).astype(np.int16),
        calibration=Calibration(offset=float(seed % 20), scale=0.1875),
        sample_rate=4000.0,
        origin=Origin(**(facts | origin)),
    )


def assert_same(got: Read, made: Read, filename: str) -> None:
    """Compare all that a file keeps of a read."""
    assert got.read_id == made.read_id
    assert np.array_equal(got.signal, made.signal)
    assert got.signal.dtype == np.int16
    assert got.calibration == made.calibration
    assert got.sample_rate == made.sample_rate
    told = {name: getattr(got.origin, name) for name in made.origin.__slots__}
    assert told == {name: getattr(made.origin, name) for name in made.origin.__slots__} | {
        "filename": filename
    }
