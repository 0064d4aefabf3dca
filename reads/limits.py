"""What decoding a file may take, whatever the file says. Pure."""

from dataclasses import dataclass

from reads.validity import MAX_SIGNAL_SAMPLES


@dataclass(frozen=True, slots=True)
class Limits:
    """What a decoder process may take."""

    read_samples: int = MAX_SIGNAL_SAMPLES
    """The longest read: one that is said to be longer is refused before its signal is decompressed."""
    memory_bytes: int = 8 << 30
    """What damaged lengths may make a library ask for before it is refused, beyond what it takes anyway."""
