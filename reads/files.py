"""Reads from files: several paths, folders searched, every format, one read at a time.

Damage is contained: what cannot be used is one exception in `problems`, and everything else is yielded.
Memory grows by about a hundred bytes a read, to know an id that comes twice, and by nothing else.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from reads.errors import ReadError, ReadFileError, ReadsError
from reads.guard import GuardedDecoder
from reads.read import Read
from reads.search import STDIN, find_files

Problem = ReadError | ReadFileError


def open_reads(
    paths: Iterable[Path | str],
    *,
    read_ids: Collection[str] | None = None,
    on_problem: Callable[[Problem], None] | None = None,
) -> "ReadStream":
    """Return the reads in files, folders (searched recursively, in order of name) and `-` (standard input),
    those in `read_ids` or all of them. `on_problem` is told each problem as it is met.

    Raises ReadFileError where a path does not exist, before anything is read.
    """
    given = [Path(path) for path in paths]
    if not given:
        raise ReadsError("no file or folder of reads was named")
    for path in given:
        if path != STDIN and not path.exists():
            raise ReadFileError(path, "there is no such file or folder")
    return ReadStream(given, read_ids, on_problem)


class ReadStream:
    """The reads of some paths, to be gone through once; see `open_reads`."""

    def __init__(
        self,
        paths: list[Path],
        read_ids: Collection[str] | None,
        on_problem: Callable[[Problem], None] | None,
    ) -> None:
        self._paths = paths
        self._wanted = None if read_ids is None else frozenset(read_ids)
        self._on_problem = on_problem
        self._decoder = GuardedDecoder(self._wanted)
        self._seen: set[str] = set()
        self._bytes_of_past_files = 0
        self._bytes_of_this_file = 0
        self.problems: list[Problem] = []
        """What could not be used so far, in the order it was met."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._decoder.close()

    def __iter__(self) -> Iterator[Read]:
        with self._decoder:
            for path in find_files(self._paths, self._report):
                yield from self._file(path)

    @property
    def missing_ids(self) -> frozenset[str]:
        """The ids that were asked for and not met so far."""
        return (self._wanted or frozenset()) - self._seen

    @property
    def done_bytes(self) -> int:
        """The bytes gone through so far, of `total_bytes`; within a file only where its format can say."""
        return self._bytes_of_past_files + int(self._decoder.before * self._bytes_of_this_file)

    def total_bytes(self) -> int:
        """Return the size of all files together, which means listing every folder; 0 for standard input."""
        return sum(_size(path) for path in find_files(self._paths, lambda _: None))

    def _file(self, path: Path) -> Iterator[Read]:
        self._bytes_of_this_file = _size(path)
        try:
            with _seekable(path) as file:
                for item in self._decoder.decode(file, known_as=path):
                    if not isinstance(item, Read):
                        self._report(item)
                    elif item.read_id in self._seen:
                        self._report(ReadError(path, item.read_id, "a read of this id came before"))
                    else:
                        self._seen.add(item.read_id)
                        yield item
        finally:
            self._decoder.before = 0.0
            self._bytes_of_past_files += self._bytes_of_this_file

    def _report(self, problem: Problem) -> None:
        self.problems.append(problem)
        if self._on_problem:
            self._on_problem(problem)


@contextmanager
def _seekable(path: Path) -> Iterator[Path]:
    """Yield a path whose file can be sought: `path`, or a temporary copy of a pipe."""
    if path.is_file() or (path != STDIN and not path.exists()):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="fiveways-") as folder:
        copy = Path(folder, "stdin" if path == STDIN else path.name)
        with copy.open("wb") as target:
            if path == STDIN:
                shutil.copyfileobj(sys.stdin.buffer, target)
            else:
                with path.open("rb") as pipe:
                    shutil.copyfileobj(pipe, target)
        yield copy


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
