"""The process in which files are decoded, so that a C library that crashes or hangs takes down only itself.

`reads.guard` starts it, sends a line of JSON for each file, and reads frames until one that says `end`:
`at` before an entry is decoded, then `read` or `bad`; `file` where the whole file stopped making sense.
"""

import json
import os
import resource
import sys
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

from reads import formats, frames
from reads.validity import why_unusable

MEMORY_LIMIT_BYTES = 8 << 30
"""What damaged lengths may make a library ask for before it is refused."""
_REASON_CHARACTERS = 300


def main() -> None:
    """Serve requests from stdin until it ends. The first line selects read ids, or none with null."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries that print must not print into the frames
    selected = json.loads(sys.stdin.readline())
    wanted = None if selected is None else frozenset(selected)
    try:
        for line in sys.stdin:
            request = json.loads(line)
            decode_file(Path(request["path"]), out, start=request["start"], wanted=wanted)
            _send(out, frames.pack({"is": "end"}))
    except BrokenPipeError:
        os._exit(0)  # the reader has gone; what is left in `out` is nobody's


def decode_file(path: Path, out: BinaryIO, *, start: int, wanted: Collection[str] | None) -> None:
    """Write to `out` the frames of the entries of `path`: from number `start`, of `wanted` ids or of all."""
    try:
        for index, entry in enumerate(formats.entries(path)):
            if index < start or (wanted is not None and entry.read_id not in wanted):
                continue
            at = {"is": "at", "index": index, "read_id": entry.read_id, "before": entry.before}
            _send(out, frames.pack(at))
            try:
                read = entry.decode()
                why = why_unusable(read)
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


def _send(out: BinaryIO, frame: frames.Frame) -> None:
    out.writelines(frame)
    out.flush()


if __name__ == "__main__":
    main()
