"""Our figures in files, beside those that locust writes for the same options.

--csv PREFIX: PREFIX_bases_history.csv, a row an interval while the run goes on; PREFIX_bases_stats.csv, the
totals and means of the run and of each path; PREFIX_bases_blocks.csv, a row a block, if there are any.
--json-file NAME: NAME_bases.json. --json: one line on stdout, the last. --html FILE: charts, in locust's
page.
"""

import csv
import sys
from collections.abc import Mapping
from pathlib import Path as File
from typing import Any

import orjson

from loadgen.charts import with_charts
from loadgen.live import Live


class HistoryFile:
    """PREFIX_bases_history.csv, to which a row is appended after each interval."""

    def __init__(self, prefix: str) -> None:
        self._file = File(f"{prefix}_bases_history.csv")
        self._columns: list[str] = []

    def append(self, timestamp_s: float, row: Mapping[str, float]) -> None:
        """Append a row; the first one of a run begins the file anew."""
        values = {"timestamp": round(timestamp_s, 3), **row}
        with self._file.open("a" if self._columns else "w", newline="", encoding="utf-8") as stream:
            # A run does not change its columns: it is one of an open loop, or of a closed one.
            writer = csv.DictWriter(stream, self._columns or list(values), restval="", extrasaction="ignore")
            if not self._columns:
                self._columns = list(values)
                writer.writeheader()
            writer.writerow(values)


def write_csv(live: Live, prefix: str) -> None:
    """Write the files of a run that has ended."""
    document = live.document()
    whole = {"path": "all", "arm": "", **document["totals"], **document["mean"]}
    _write(File(f"{prefix}_bases_stats.csv"), [whole, *document["paths"]])
    if document["blocks"]:
        rows = [{**block, "voids": "; ".join(block["voids"])} for block in document["blocks"]]
        _write(File(f"{prefix}_bases_blocks.csv"), rows)


def _write(file: File, rows: list[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def as_json(live: Live) -> bytes:
    """Return everything there is to say, as one line."""
    return orjson.dumps(live.document(), option=orjson.OPT_APPEND_NEWLINE)


def json_file_beside(locusts: File) -> File:
    """Return where our figures are that go with locust's file."""
    return locusts.with_name(f"{locusts.stem}_bases.json")


def write_json(live: Live, locusts: File) -> None:
    """Write our figures beside locust's file."""
    json_file_beside(locusts).write_bytes(as_json(live))


def print_json(live: Live) -> None:
    """Print our figures as the last line of stdout."""
    sys.stdout.write(as_json(live).decode())
    sys.stdout.flush()


def extend_html(live: Live, page: File, since_s: float) -> None:
    """Put our charts into the page of locust's, if it has written it since then."""
    if page.exists() and page.stat().st_mtime >= since_s:
        page.write_text(with_charts(page.read_text(encoding="utf-8"), live.document()), encoding="utf-8")
