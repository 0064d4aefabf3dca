"""What can be wrong with reads.

ReadsError
├── ReadFileError     a file that cannot be opened or is not what its name says
└── ReadError         one read that cannot be used; others of its file may be fine
"""

from pathlib import Path


class ReadsError(Exception):
    """Base of what this room raises."""


class ReadFileError(ReadsError):
    """A whole file cannot be used."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.why = why


class ReadError(ReadsError):
    """One read of a file cannot be used."""

    def __init__(self, path: Path, read_id: str, why: str) -> None:
        super().__init__(f"{path}: {read_id}: {why}")
        self.path = path
        self.read_id = read_id
        self.why = why
