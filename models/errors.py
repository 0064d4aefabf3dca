"""What can be wrong with models.

ModelError
├── UnknownModelError     no model of that name in the zoo, no directory of that path
├── ModelFormatError   a directory whose config or weights cannot be used
├── SampleRateError    a read sampled at a rate the model was not trained for
├── DeviceError        a device that failed in the middle of work
└── TrainingError      nothing to learn from, or a training that cannot go on
"""

from collections.abc import Iterator
from contextlib import contextmanager


class ModelError(Exception):
    """Base of what this room raises."""


class UnknownModelError(ModelError):
    """No such model."""


class ModelFormatError(ModelError):
    """A model directory cannot be used."""


class SampleRateError(ModelError):
    """A read and a model disagree on the sample rate."""


class DeviceError(ModelError):
    """A device failed, ran out of memory, or went away."""


class TrainingError(ModelError):
    """A training cannot begin or go on."""


@contextmanager
def device_failures(device: str) -> Iterator[None]:
    """Turn what torch raises when a device fails into DeviceError; other errors are bugs, and pass."""
    try:
        yield
    except RuntimeError as error:
        # Its classes differ from version to version; all of them are RuntimeErrors that say these words.
        if not any(word in str(error) for word in ("CUDA", "cuDNN", "CUBLAS", "out of memory")):
            raise
        first = str(error).strip().splitlines()[0]
        raise DeviceError(f"device {device} failed: {first}") from error
