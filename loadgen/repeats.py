"""Others' raw repeats: a CSV of system, path, repeat, value and order, one line a measurement.

    system,path,repeat,value,order
    cilium,direct,1,9.41,3
    cilium,service,1,9.37,4

`system` is what was set up, such as a CNI on a cluster; `path` what was measured on it; `value` is more than
0, in the same unit for all paths of a system; `order` numbers the measurements of a system as they were made,
and is empty where nobody knows. More columns are ignored. Reads files and knows no statistics.
"""

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path as File

from loadgen.errors import ResultsError

COLUMNS = ("system", "path", "repeat", "value", "order")
MOST_REPEATS = 100_000
"""A file with more lines than this is no list of repeats."""
_EXAMPLE = "cilium,service,1,9.37,4"


@dataclass(frozen=True, slots=True)
class Repeat:
    """One measurement."""

    system: str
    path: str
    repeat: int
    value: float
    order: int | None
    """When it was made among all of its system; None where nobody knows."""


def read_repeats(file: File) -> tuple[Repeat, ...]:
    """Read a CSV file. Raises ResultsError, which names the line and what would be right."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, strict=True, skipinitialspace=True)
            _check_columns(reader.fieldnames or (), file)
            numbered = list(_repeats(reader, file))
    except OSError as error:
        raise ResultsError(f"{file} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ResultsError(f"{file} is not CSV in UTF-8: {error}") from error
    if not numbered:
        raise ResultsError(f"{file} has no measurements after its first line; write one a line: {_EXAMPLE}")
    _check_doubles(numbered, file)
    repeats = tuple(repeat for _, repeat in numbered)
    for system in dict.fromkeys(repeat.system for repeat in repeats):
        known = {repeat.order is not None for repeat in repeats if repeat.system == system}
        if len(known) > 1:
            raise ResultsError(
                f"{file} gives the order of some measurements of {system} and not of others: give all or none"
            )
    return repeats


def _check_columns(found: Sequence[str], file: File) -> None:
    missing = [name for name in COLUMNS if name not in found]
    if missing:
        raise ResultsError(
            f"{file} has no column {', '.join(missing)}; its first line must be {','.join(COLUMNS)},"
            f" and is {','.join(found) or 'empty'}"
        )


def _repeats(reader: "csv.DictReader[str]", file: File) -> Iterator[tuple[int, Repeat]]:
    for row in reader:
        if not any(row.get(name) for name in COLUMNS):
            continue
        place = f"{file}, line {reader.line_num}"
        cells = {name: (row[name] or "").strip() for name in COLUMNS}
        for name in ("system", "path"):
            if not cells[name]:
                raise ResultsError(f"{place}: {name} is empty; a line looks like {_EXAMPLE}")
        yield (
            reader.line_num,
            Repeat(
                system=cells["system"],
                path=cells["path"],
                repeat=_whole(cells["repeat"], "repeat", place),
                value=_positive(cells["value"], place),
                order=_whole(cells["order"], "order", place) if cells["order"] else None,
            ),
        )
        if reader.line_num > MOST_REPEATS:
            raise ResultsError(f"{file} has more than {MOST_REPEATS:,} lines")


def _whole(text: str, name: str, place: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise ResultsError(f"{place}: {name} is {text!r}, and must be a whole number, such as 1") from error


def _positive(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise ResultsError(f"{place}: value is {text!r}, and must be a number, such as 9.37") from error
    if not (math.isfinite(value) and value > 0):
        raise ResultsError(
            f"{place}: value is {text}, and must be finite and more than 0: ratios are compared"
        )
    return value


def _check_doubles(numbered: list[tuple[int, Repeat]], file: File) -> None:
    """Refuse two lines of one repeat, or of one moment of a system."""
    repeats = dict[tuple[str, str, int], int]()
    moments = dict[tuple[str, int], int]()
    for line, repeat in numbered:
        earlier = repeats.setdefault((repeat.system, repeat.path, repeat.repeat), line)
        if earlier != line:
            what = f"repeat {repeat.repeat} of {repeat.path} of {repeat.system}"
            raise ResultsError(f"{file}, line {line}: {what} is on line {earlier} already")
        if repeat.order is not None:
            earlier = moments.setdefault((repeat.system, repeat.order), line)
            if earlier != line:
                what = f"order {repeat.order} of {repeat.system}"
                raise ResultsError(f"{file}, line {line}: {what} is on line {earlier} already")
