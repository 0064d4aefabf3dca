import re
from dataclasses import replace

import numpy as np
import pytest
from made_reads import made_read

from reads.read import Calibration, Read
from reads.validity import MAX_SIGNAL_SAMPLES, why_unusable

GOOD = made_read(1)


def test_a_good_read_has_no_fault() -> None:
    assert why_unusable(GOOD) is None


@pytest.mark.parametrize(
    ("read", "why"),
    [
        (replace(GOOD, read_id=""), "read id"),
        (replace(GOOD, read_id="two words"), "read id"),
        (replace(GOOD, read_id="a\tb"), "read id"),
        (replace(GOOD, read_id="@a"), "read id"),
        (replace(GOOD, read_id="a" * 255), "read id"),
        (replace(GOOD, signal=np.zeros(0, np.int16)), "empty"),
        (replace(GOOD, signal=np.zeros((2, 2), np.int16)), r"shape \(2, 2\)"),
        (replace(GOOD, signal=np.zeros(9, np.float32)), "float32"),
        (replace(GOOD, signal=np.broadcast_to(np.int16(0), MAX_SIGNAL_SAMPLES + 1)), "the most"),
        (replace(GOOD, calibration=Calibration(0.0, 0.0)), "scale 0.0"),
        (replace(GOOD, calibration=Calibration(0.0, -1.0)), "scale -1.0"),
        (replace(GOOD, calibration=Calibration(0.0, float("inf"))), "scale inf"),
        (replace(GOOD, calibration=Calibration(float("nan"), 1.0)), "offset nan"),
        (replace(GOOD, sample_rate=0.0), "sample rate"),
        (replace(GOOD, sample_rate=float("nan")), "sample rate"),
        (replace(GOOD, sample_rate=1e9), "sample rate"),
    ],
)
def test_each_fault_is_named(read: Read, why: str) -> None:
    assert re.search(why, why_unusable(read) or "")
