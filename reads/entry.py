"""A read found in a file and not decoded yet: what the modules of the formats hand to the decoder.

Each has `entries(path)`, an iterator of these in the order of the file. Finding must be cheap, and going on
after an entry whose decoding failed must be possible.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from reads.read import Read


@dataclass(frozen=True, slots=True)
class Entry:
    """One read of a file. `before` is the part of the file before it, 0 to 1; 0 where that is unknown.

    `decode` before asking for the next. It raises whatever the format's library raises, and ValueError where
    the reason is ours.
    """

    read_id: str
    before: float
    decode: Callable[[], Read]

    @classmethod
    def refused(cls, read_id: str, before: float, error: Exception) -> Self:
        """Stand for something in a file that was found and cannot be decoded, for `error`."""

        def decode() -> Read:
            raise error

        return cls(read_id, before, decode)
