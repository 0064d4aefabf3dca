"""Which files are meant by some paths: files as they are named, folders by what is in them.

Lazy, and in order of name, so that two runs see the same reads in the same order. Hidden files are somebody's
unfinished business and are not found; a file met twice is given once.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from reads.errors import ReadFileError
from reads.formats import SUFFIXES, holds_reads

STDIN = Path("-")
"""The path that stands for standard input."""


def find_files(paths: Iterable[Path], on_problem: Callable[[ReadFileError], None]) -> Iterator[Path]:
    """Yield the files that `paths` mean. `on_problem` is told of folders without any, or unlisted."""
    seen: set[tuple[int, int]] = set()
    for path in paths:
        empty = True
        for file in _search(path, on_problem) if path.is_dir() else [path]:
            empty = False
            if file == STDIN or not file.exists() or _is_new(file, seen):
                yield file
        if empty:
            on_problem(
                ReadFileError(path, f"there is no file of reads in it ({', '.join(sorted(SUFFIXES))})")
            )


def _search(folder: Path, on_problem: Callable[[ReadFileError], None]) -> Iterator[Path]:
    def unlisted(error: OSError) -> None:
        on_problem(ReadFileError(Path(error.filename), error.strerror or "cannot be listed"))

    entered: set[tuple[int, int]] = set()  # links may lead back
    for name, folders, files in os.walk(folder, onerror=unlisted, followlinks=True):
        here = Path(name)
        folders[:] = sorted(
            inner for inner in folders if not inner.startswith(".") and _is_new(here / inner, entered)
        )
        for file in (here / name for name in sorted(files) if not name.startswith(".")):
            # A link that leads nowhere is a read file that was lost: opening it will say so.
            if (file.is_file() or file.is_symlink()) and holds_reads(file):
                yield file


def _is_new(path: Path, seen: set[tuple[int, int]]) -> bool:
    status = path.stat()
    key = (status.st_dev, status.st_ino)
    new = key not in seen
    seen.add(key)
    return new
