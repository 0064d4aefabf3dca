"""What a file says of the run a read belongs to, in the names that MinKNOW gives (`tracking_id`).

The same names are in fast5, pod5 and slow5; values are text, and old files say times in epoch seconds.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from reads.read import Origin


def run_origin(tracking: Mapping[str, str]) -> Origin:
    """Return the part of an `Origin` that all reads of a run share."""
    return Origin(
        run_id=tracking.get("run_id", ""),
        flow_cell_id=tracking.get("flow_cell_id", ""),
        sample_id=tracking.get("sample_id", ""),
        run_started=iso_time(tracking.get("exp_start_time", "")),
        device_id=tracking.get("device_id", ""),
    )


def iso_time(text: str) -> str:
    """Return a time as ISO 8601 with its zone, from ISO 8601 (UTC where it names no zone) or epoch seconds;
    empty where it is neither."""
    try:
        when = datetime.fromtimestamp(float(text), UTC) if text.isdecimal() else datetime.fromisoformat(text)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).isoformat()
    except (ValueError, OverflowError, OSError):
        return ""
