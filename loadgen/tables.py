"""The tables of a report as CSV files, one for each kind of row."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path as File
from typing import Any

from loadgen.measure import MEASURES, RATES
from loadgen.observation import Observation
from loadgen.results import Results, Run

Row = dict[str, Any]


def write_tables(run: Run, results: Results, folder: File) -> None:
    """Write every table of a run to `folder`; those without rows are empty files."""
    tables: dict[str, Iterable[Row]] = {
        "verdicts": flat(*results.comparisons, *results.controls),
        "differences": flat(*results.contrasts, *results.control_contrasts),
        "noise": flat(*results.noises),
        "paths": flat(*results.summaries),
        "headroom": flat(*results.headrooms),
        "line_limits": flat(*results.line_limits),
        "expected_limits": flat(*results.expected_limits),
        "gates": flat(*results.gates),
        "facts": flat(*run.facts),
        "settings": ({"setting": name, "value": value} for name, value in settings(run)),
        "addresses": flat(*run.setup.plan.paths),
        "absent": flat(*run.absent),
        "blocks": map(_block_row, run.observations),
    }
    for name, rows in tables.items():
        write_table(list(rows), folder / f"{name}.csv")


def settings(run: Run) -> Iterator[tuple[str, str]]:
    """Yield every setting of a run but its paths, nested ones by dotted names."""
    plain = asdict(run.setup)
    plain["plan"].pop("paths")
    yield from _dotted(plain, "")


def _dotted(plain: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in plain.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{name}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            yield f"{prefix}{name}", text


def flat(*items: Any) -> Iterator[Row]:
    """Yield each dataclass as one row; the fields of the dataclasses within come beside its own."""
    for item in items:
        row: Row = {}
        for name, value in asdict(item).items():
            row.update(value if isinstance(value, dict) else {name: value})
        yield row


def _block_row(observation: Observation) -> Row:
    values = {measure.name: measure.of(observation) for measure in (*MEASURES, *RATES)}
    return {
        "round": observation.round,
        "position": observation.position,
        "path": observation.path,
        "arm": observation.arm,
        "started_s": observation.started_s,
        "window_s": observation.window_s,
        "samples_per_s": observation.samples_per_s,
        **values,
        "requests": observation.total.requests,
        "failures": observation.total.failures,
        "voids": "; ".join(observation.voids),
    }


def write_table(rows: Sequence[Mapping[str, Any]], file: File) -> None:
    """Write rows under the names of all their columns."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, names)
        writer.writeheader()
        writer.writerows(rows)
