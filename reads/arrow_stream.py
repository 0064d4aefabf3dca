"""Reads as an Arrow IPC stream, the body of many reads: one row a read, in record batches of any size.

    read_id      utf8            its name; not twice in a stream
    signal       list<int16>     its samples, or:
                 binary          these as VBZ, in the form in which pod5 keeps them
    samples      int64           how many they are: needed for VBZ alone
    offset       double          pA = (sample + offset) * scale
    scale        double
    sample_rate  double          in Hz

Any width of list, text, binary and number will do; other columns are not looked at. What is decoded here came
from anybody: decode it behind `reads.guard`. pyarrow and pod5 take long to import, so that happens on use.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from reads.entry import Entry
from reads.read import Calibration, Read, Signal
from reads.validity import MAX_SIGNAL_SAMPLES, too_long

NUMBERS = ("offset", "scale", "sample_rate")
SAMPLES = "samples"
REFUSED_ROW = "row {}"
"""What a row is called whose read has no name."""


def entries(path: Path, most_samples: int = MAX_SIGNAL_SAMPLES) -> Iterator[Entry]:
    """Yield the reads of a stream in its order. Raises ValueError where it is none, or lacks a column."""
    arrow = import_module("pyarrow")
    rows = 0
    with arrow.memory_map(str(path)) as file, arrow.ipc.open_stream(file) as stream:
        _check_columns(stream.schema, arrow)
        for batch in stream:
            # Offsets that lead out of a buffer are found here, before anything follows them.
            batch.validate(full=True)
            for row in range(batch.num_rows):
                name = batch.column("read_id")[row].as_py()
                rows += 1
                yield Entry(name or REFUSED_ROW.format(rows), 0.0, partial(_read, batch, row, most_samples))
    if not rows:
        raise ValueError("the stream has no rows")


def reads_to_stream(reads: Iterable[Read], *, vbz: bool = False, batch_reads: int = 100) -> bytes:
    """Return reads as a stream, `batch_reads` in a record batch; the signal as VBZ where that is wanted."""
    arrow = import_module("pyarrow")
    schema = _schema(arrow, vbz=vbz)
    sink = arrow.BufferOutputStream()
    with arrow.ipc.new_stream(sink, schema) as stream:
        rows = [_row(read, vbz=vbz) for read in reads]
        for at in range(0, len(rows), batch_reads):
            columns = zip(*rows[at : at + batch_reads], strict=True)
            arrays = [
                arrow.array(list(column), field.type) for column, field in zip(columns, schema, strict=True)
            ]
            stream.write_batch(arrow.record_batch(arrays, schema=schema))
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _schema(arrow: Any, *, vbz: bool) -> Any:
    signal = ("signal", arrow.binary() if vbz else arrow.list_(arrow.int16()))
    numbers = [(name, arrow.float64()) for name in NUMBERS]
    return arrow.schema([("read_id", arrow.string()), signal, (SAMPLES, arrow.int64()), *numbers])


def _row(read: Read, *, vbz: bool) -> tuple[Any, ...]:
    signal = _vbz().vbz_compress_signal(read.signal).tobytes() if vbz else read.signal
    offset, scale = read.calibration.offset, read.calibration.scale
    return read.read_id, signal, len(read.signal), offset, scale, read.sample_rate


def _check_columns(schema: Any, arrow: Any) -> None:
    is_ = arrow.types
    signal_is_vbz = "signal" in schema.names and _is_binary(schema.field("signal").type, is_)
    needed: dict[str, tuple[str, Callable[[Any], bool]]] = {
        "read_id": (
            "utf8",
            lambda kind: is_.is_string(kind) or is_.is_large_string(kind) or is_.is_string_view(kind),
        ),
        "signal": (
            "list<int16>, or binary for VBZ",
            lambda kind: _is_binary(kind, is_) or _is_samples(kind, is_),
        ),
        **{name: ("double", lambda kind: is_.is_floating(kind) or is_.is_integer(kind)) for name in NUMBERS},
        **({SAMPLES: ("int64, as VBZ does not say it", is_.is_integer)} if signal_is_vbz else {}),
    }
    for name, (kind, fits) in needed.items():
        count = schema.names.count(name)
        if count != 1:
            has = ", ".join(schema.names) or "none"
            raise ValueError(f"there {'is no' if not count else 'are several'} column {name}; it has {has}")
        if not fits(schema.field(name).type):
            raise ValueError(f"column {name} is {schema.field(name).type}; it is to be {kind}")


def _is_binary(kind: Any, is_: Any) -> bool:
    return bool(is_.is_binary(kind) or is_.is_large_binary(kind) or is_.is_binary_view(kind))


def _is_samples(kind: Any, is_: Any) -> bool:
    is_list = is_.is_list(kind) or is_.is_large_list(kind)
    return bool(is_list and is_.is_int16(kind.value_type))


def _read(batch: Any, row: int, most_samples: int) -> Read:
    read_id = batch.column("read_id")[row].as_py()
    if read_id is None:
        raise ValueError("its read_id is null")
    offset, scale, sample_rate = (_number(batch, name, row) for name in NUMBERS)
    return Read(read_id, _signal(batch, row, most_samples), Calibration(offset, scale), sample_rate)


def _number(batch: Any, name: str, row: int) -> float:
    value = batch.column(name)[row].as_py()
    if value is None:
        raise ValueError(f"its {name} is null")
    return float(value)


def _signal(batch: Any, row: int, most_samples: int) -> Signal:
    cell = batch.column("signal")[row]
    if not cell.is_valid:
        raise ValueError("its signal is null")
    if hasattr(cell, "as_buffer"):
        return _from_vbz(cell.as_buffer(), batch.column(SAMPLES)[row].as_py(), most_samples)
    samples = cell.values
    if len(samples) > most_samples:
        raise ValueError(too_long(len(samples), most_samples))
    if samples.null_count:
        raise ValueError(f"{samples.null_count} of its samples are null")
    signal: Signal = samples.to_numpy(zero_copy_only=True)
    return signal


def _from_vbz(compressed: Any, samples: int | None, most_samples: int) -> Signal:
    if samples is None or samples < 0:
        raise ValueError(f"its samples are said to be {samples}")
    if samples > most_samples:
        raise ValueError(too_long(samples, most_samples))
    if not samples:
        return np.zeros(0, np.int16)
    signal: Signal = _vbz().vbz_decompress_signal(np.frombuffer(compressed, np.uint8), samples)
    return signal


def _vbz() -> Any:
    return import_module("pod5.signal_tools")
