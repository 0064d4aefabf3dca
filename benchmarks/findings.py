"""What a soak found: values, each with what was promised of it and whether that was kept.

Shown as a table on stderr; the last line of stdout is the same as JSON.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Finding:
    """One value. `kept` is None where nothing is promised of it."""

    name: str
    value: float | int | str
    promise: str = ""
    kept: bool | None = None


def all_kept(findings: Sequence[Finding]) -> bool:
    """Return whether no promise was broken."""
    return all(finding.kept is not False for finding in findings)


def show(title: str, findings: Sequence[Finding]) -> None:
    """Print the table and the line of JSON."""
    table = Table("what", "value", "promised", "kept", title=title, title_justify="left")
    for one in findings:
        value = (
            f"{one.value:,.4g}"
            if isinstance(one.value, float)
            else f"{one.value:,}"
            if isinstance(one.value, int)
            else one.value
        )
        kept = "" if one.kept is None else "yes" if one.kept else "NO"
        table.add_row(one.name, value, one.promise, kept)
    Console(stderr=True).print(table)
    print(
        json.dumps({"soak": title, "kept": all_kept(findings), "findings": [asdict(one) for one in findings]})
    )
