"""slow5 and blow5, through pyslow5, which is an extra: without it a file is refused with a line that says so.

pyslow5 tells its log alone what went wrong with a record, and kills the process over a damaged header: this
listens to the one, and leaves the other to `reads.guard`.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from reads.entry import Entry
from reads.read import Calibration, Read
from reads.tracking import run_origin
from reads.validity import MAX_SIGNAL_SAMPLES, too_long

MAX_DAMAGED_IN_A_ROW = 100
"""After a lost record boundary everything looks damaged: this many, and the file is given up."""
_FIELDS = ["channel_number", "start_mux", "read_number", "start_time"]
_CODE = re.compile(r"\['(\w+)', '(.*)'\]")


class _LastError(logging.Handler):
    """Keeps the last error that a logger was told."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


def entries(path: Path, most_samples: int = MAX_SIGNAL_SAMPLES) -> Iterator[Entry]:
    """Yield the reads of a slow5 or blow5 file in its order. A record that does not parse is an entry too."""
    try:
        pyslow5 = import_module("pyslow5")
    except ImportError as error:
        raise ValueError("slow5 needs pyslow5: pip install 'fiveways[slow5]'") from error
    file = pyslow5.Open(str(path), "r")
    problem = _LastError()
    log = logging.getLogger("pyslow5")
    log.handlers, log.propagate = [problem], False  # opening gave it a handler that prints
    headers = [_header(file, group) for group in range(file.get_num_read_groups())]
    damaged_in_a_row = 0
    index = 0
    while damaged_in_a_row < MAX_DAMAGED_IN_A_ROW:
        problem.text = ""
        try:
            row = next(file.seq_reads(aux=_FIELDS), None)  # goes on where the last one stopped
        except Exception as error:  # noqa: BLE001  whatever pyslow5 makes of a damaged field
            row, problem.text = None, str(error)
        code = _CODE.search(problem.text)
        if row is not None:
            damaged_in_a_row = 0
            yield Entry(row["read_id"], 0.0, partial(_read, row, headers, path.name, most_samples))
        elif not problem.text:
            return
        elif code and code[1] == "SLOW5_ERR_TRUNC":
            raise ValueError(f"truncated after record {index}")
        else:
            damaged_in_a_row += 1
            why = code[2] if code else problem.text
            yield Entry.refused(f"record {index + 1}", 0.0, ValueError(why))
        index += 1
    raise ValueError(f"{MAX_DAMAGED_IN_A_ROW} damaged records in a row")


def _header(file: Any, group: int) -> dict[str, str]:
    return {
        name: value for name, value in file.get_all_headers(read_group=group).items() if value is not None
    }


def _read(row: Mapping[str, Any], headers: list[dict[str, str]], filename: str, most_samples: int) -> Read:
    if len(row["signal"]) > most_samples:
        raise ValueError(too_long(len(row["signal"]), most_samples))
    group = row["read_group"]
    if group >= len(headers):
        raise ValueError(f"it is of read group {group}, and the header has {len(headers)}")
    header = headers[group]
    rate, declared = row["sampling_rate"], header.get("sample_frequency", "")
    if declared.isdecimal() and float(declared) != rate:
        raise ValueError(f"its record says {rate:g} Hz, its header {declared} Hz")
    if row["digitisation"] == 0:
        raise ValueError("digitisation is 0")
    return Read(
        read_id=row["read_id"],
        signal=np.ascontiguousarray(row["signal"], np.int16),
        calibration=Calibration(row["offset"], row["range"] / row["digitisation"]),
        sample_rate=rate,
        origin=replace(
            run_origin(header),
            channel=_count(row["channel_number"]),
            mux=_count(row["start_mux"]),
            read_number=_count(row["read_number"]),
            start_sample=_count(row["start_time"]),
            filename=filename,
        ),
    )


def _count(value: Any) -> int | None:
    """Return a whole number, or None where the record says none."""
    return int(value) if value is not None and str(value).isdecimal() else None
