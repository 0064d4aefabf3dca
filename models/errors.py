"""What can be wrong with models.

ModelError
├── UnknownModelError     no model of that name in the zoo, no directory of that path
├── ModelFormatError   a directory whose config or weights cannot be used
└── SampleRateError    a read sampled at a rate the model was not trained for
"""


class ModelError(Exception):
    """Base of what this room raises."""


class UnknownModelError(ModelError):
    """No such model."""


class ModelFormatError(ModelError):
    """A model directory cannot be used."""


class SampleRateError(ModelError):
    """A read and a model disagree on the sample rate."""
