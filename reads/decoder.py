"""The process in which files are decoded, so that a C library that crashes or hangs takes down only itself.

`reads.guard` starts it, sends a line of JSON for each file, and reads frames until one that says `end`:
`at` before an entry is decoded, then `read` or `bad`; `file` where the whole file stopped making sense.
"""

import json
import os
import resource
import sys
from collections.abc import Collection
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from reads import formats, frames
from reads.limits import Limits
from reads.validity import MAX_SIGNAL_SAMPLES, why_unusable

_REASON_CHARACTERS = 300
_LIBRARIES = ("h5py", "pyarrow", "pod5")


def main() -> None:
    """Serve requests from stdin until it ends. The first line has the limits, and the ids of the reads that
    are wanted, or null for all."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries that print must not print into the frames
    first = json.loads(sys.stdin.readline())
    limits = Limits(**first["limits"])
    wanted = None if first["read_ids"] is None else frozenset(first["read_ids"])
    _limit_memory(limits.memory_bytes)
    try:
        for line in sys.stdin:
            request = json.loads(line)
            decode_file(
                Path(request["path"]),
                out,
                start=request["start"],
                wanted=wanted,
                most_samples=limits.read_samples,
            )
            _send(out, frames.pack({"is": "end"}))
    except BrokenPipeError:
        os._exit(0)  # the reader has gone; what is left in `out` is nobody's


def decode_file(
    path: Path,
    out: BinaryIO,
    *,
    start: int,
    wanted: Collection[str] | None,
    most_samples: int = MAX_SIGNAL_SAMPLES,
) -> None:
    """Write to `out` the frames of the entries of `path`: from number `start`, of `wanted` ids or of all."""
    try:
        for index, entry in enumerate(formats.entries(path, most_samples)):
            if index < start or (wanted is not None and entry.read_id not in wanted):
                continue
            at = {"is": "at", "index": index, "read_id": entry.read_id, "before": entry.before}
            _send(out, frames.pack(at))
            try:
                read = entry.decode()
                why = why_unusable(read, most_samples)
            except Exception as error:  # noqa: BLE001  whatever a library makes of damage is this read's problem
                why = reason(error)
            _send(out, frames.pack({"is": "bad", "why": why}) if why else frames.pack_read(read))
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001  and here the file's
        _send(out, frames.pack({"is": "file", "why": reason(error)}))


def reason(error: Exception) -> str:
    """Return what an exception says, as one line."""
    text = (
        " ".join(str(error.args[0] if isinstance(error, KeyError) else error).split()) or type(error).__name__
    )
    return text if len(text) <= _REASON_CHARACTERS else text[:_REASON_CHARACTERS] + "..."


def _limit_memory(more_bytes: int) -> None:
    """Refuse more memory than `more_bytes` beyond what the libraries take for themselves, which is a lot."""
    for library in _LIBRARIES:
        import_module(library)
    status = Path("/proc/self/status").read_text()
    taken_bytes = int(status.partition("VmData:")[2].split()[0]) << 10
    resource.setrlimit(resource.RLIMIT_DATA, (taken_bytes + more_bytes,) * 2)


def _send(out: BinaryIO, frame: frames.Frame) -> None:
    out.writelines(frame)
    out.flush()


if __name__ == "__main__":
    main()
