import io
import json
import struct

import numpy as np
import pytest
from made_reads import assert_same, made_read

from reads import frames
from reads.validity import MAX_SIGNAL_SAMPLES


def test_a_read_comes_back_as_it_was_packed() -> None:
    read = made_read(3, filename="a.fast5")
    stream = io.BytesIO(b"".join(frames.pack_read(read)))
    message_bytes, samples = frames.unpack_lengths(stream.read(frames.PREFIX_BYTES))
    message = json.loads(stream.read(message_bytes))
    signal = np.frombuffer(stream.read(), "<i2")
    assert len(signal) == samples
    assert_same(frames.unpack_read(message, signal), read, "a.fast5")


@pytest.mark.parametrize("lengths", [(frames.MAX_MESSAGE_BYTES + 1, 0), (0, MAX_SIGNAL_SAMPLES + 1)])
def test_no_length_is_trusted(lengths: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="a frame of"):
        frames.unpack_lengths(struct.pack("<II", *lengths))
