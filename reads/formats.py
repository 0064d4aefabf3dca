"""Which format a file has, by its first bytes: a name proves nothing.

Knows the modules of the formats by name only, for importing one can take a second.
"""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from reads.entry import Entry
from reads.validity import MAX_SIGNAL_SAMPLES

SUFFIXES = frozenset({".fast5", ".pod5", ".slow5", ".blow5"})
"""How the names of read files end."""
HEAD_BYTES = 14
"""Enough of a file to tell its format."""
_FAST5, _POD5, _SLOW5, _ARROW = "reads.fast5", "reads.pod5_file", "reads.slow5", "reads.arrow_stream"
_SIGNATURES = {
    b"\x89HDF\r\n\x1a\n": _FAST5,
    b"\x8bPOD\r\n\x1a\n": _POD5,
    b"BLOW5\x01": _SLOW5,
    b"#slow5_version": _SLOW5,
    # What every message of an Arrow stream begins with.
    b"\xff\xff\xff\xff": _ARROW,
}


def entries(path: Path, most_samples: int = MAX_SIGNAL_SAMPLES) -> Iterator[Entry]:
    """Return the entries of the reads in `path`, whatever its name. Raises ValueError where it holds none.

    Decoding an entry raises ValueError where its signal has more than `most_samples`.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    module = _module(head)
    if module is None:
        raise ValueError(f"neither fast5, pod5 nor slow5: it begins with {head!r}" if head else "empty")
    found: Iterator[Entry] = import_module(module).entries(path, most_samples)
    return found


def holds_reads(path: Path) -> bool:
    """Return whether a file that was found by searching is meant: by its name, or by its first bytes unless
    they are those of HDF5, which is many things besides fast5."""
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return _module(file.read(HEAD_BYTES)) in {_POD5, _SLOW5}
    except OSError:
        return False


def _module(head: bytes) -> str | None:
    return next((module for start, module in _SIGNATURES.items() if head.startswith(start)), None)
