"""A program that an experiment needs beside itself, from its start to its end, with a log of what it says.

Knows nothing of what the program does.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path as File
from types import TracebackType
from typing import Self

from loadgen.errors import ExperimentError

STOP_S = 15.0
"""How long a program may take to end once it was asked to."""
LAST_LINES, LINE_COLUMNS = 12, 300
"""How much of a log is shown."""


class Child:
    """A running program: begun on entering, ended on leaving, kindly at first."""

    def __init__(self, command: Sequence[str], log: File, *, descriptors: Sequence[int] = ()) -> None:
        """Prepare `command`, which is to write to `log` and to inherit open file `descriptors`."""
        self._command = command
        self._log = log
        self._descriptors = descriptors

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the commands are our own
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=self._descriptors,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        if self.ended(STOP_S) is None:
            self._process.kill()
            self._process.wait()

    def check(self) -> None:
        """Return if it is running. Raises ExperimentError, which has its last words."""
        status = self.ended()
        if status is not None:
            raise ExperimentError(
                f"{self._command[0]} ended with status {status}; its log ends\n{self.last_words()}"
            )

    def ended(self, within_s: float = 0.0) -> int | None:
        """Wait until it ends, but no longer than `within_s`; return its exit status, None if it goes on."""
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return None

    def last_words(self) -> str:
        """Return the last lines of its log, long ones cut."""
        lines = self._log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        return "\n".join(line if len(line) <= LINE_COLUMNS else f"{line[:LINE_COLUMNS]}..." for line in lines)
