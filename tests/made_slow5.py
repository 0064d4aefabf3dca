"""blow5 and slow5 files of known reads, for tests: written by pyslow5, where the machine has it."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from conftest import missing

from reads.read import Read


def pyslow5() -> Any:
    """Return the module, or skip."""
    try:
        return import_module("pyslow5")
    except ImportError:
        missing("pyslow5")


def write_slow5(
    path: Path, reads: Sequence[Read], *, declared_hz: str = "4000", compression: str = "zlib"
) -> Path:
    """Write reads of one run; `declared_hz` is the sample rate that the header claims."""
    origin = reads[0].origin
    file = pyslow5().Open(str(path), "w", rec_press=compression)
    header = {
        "run_id": origin.run_id,
        "flow_cell_id": origin.flow_cell_id,
        "sample_id": origin.sample_id,
        "exp_start_time": origin.run_started,
        "device_id": origin.device_id,
        "sample_frequency": declared_hz,
    }
    file.write_header(header, read_group=0)
    for read in reads:
        record = {
            "read_id": read.read_id,
            "read_group": 0,
            "digitisation": 8192.0,
            "offset": read.calibration.offset,
            "range": read.calibration.scale * 8192.0,
            "sampling_rate": read.sample_rate,
            "len_raw_signal": len(read.signal),
            "signal": read.signal,
        }
        aux = {
            "channel_number": str(read.origin.channel),
            "median_before": 200.0,
            "read_number": read.origin.read_number,
            "start_mux": read.origin.mux,
            "start_time": read.origin.start_sample,
        }
        file.write_record(record, aux)
    file.close()
    return path
