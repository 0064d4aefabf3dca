"""Prints what is appended to a file, whole lines only, until told to end: `python -m loadgen.cluster.relay
FILE`.

It is the sidecar beside locust's master. Its log has the observations and nothing else, so that whoever
follows the log never finds a line of locust's in the middle of one. On SIGTERM, which Kubernetes sends when
the master has ended, it prints what is left: nothing is lost.
"""

import signal
import sys
import threading
from pathlib import Path
from typing import BinaryIO

LOOK_AGAIN_S = 0.2


def relay(file: Path, out: BinaryIO, told_to_end: threading.Event) -> None:
    """Copy the lines of `file`, which need not be there yet, to `out`."""
    done = 0
    while True:
        # Looked at before the file, so that what was written by then is copied.
        last = told_to_end.wait(LOOK_AGAIN_S)
        if file.exists():
            with file.open("rb") as stream:
                stream.seek(done)
                whole = stream.read().rpartition(b"\n")
            lines = whole[0] + whole[1]
            out.write(lines)
            out.flush()
            done += len(lines)
        if last:
            return


def main() -> None:
    """Relay the file named on the command line to standard output."""
    told_to_end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told_to_end.set())
    relay(Path(sys.argv[1]), sys.stdout.buffer, told_to_end)


if __name__ == "__main__":
    main()
