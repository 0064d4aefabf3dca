"""fast5: HDF5 with one read a file (v0.6 and later) or many, plain, gzip or VBZ; and a writer of many, VBZ.

Reading goes through h5py, so that one broken read costs that read alone; writing through ONT's own library.
Analyses that callers embed are never needed and never touched.
"""

import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from importlib import import_module
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import vbz_h5py_plugin  # noqa: F401  registers the VBZ filter with HDF5

from reads.atomic import replacing
from reads.entry import Entry
from reads.read import Calibration, Read, Signal
from reads.tracking import run_origin
from reads.validity import MAX_SIGNAL_SAMPLES, too_long

DIGITISATION = 8192.0
"""Levels of the converter that written files claim; a power of two, so that the scale comes back exactly."""
_TRUNCATED = re.compile(r"truncated file: eof = (\d+),.* stored_eof = (\d+)")


def entries(path: Path, most_samples: int = MAX_SIGNAL_SAMPLES) -> Iterator[Entry]:
    """Yield the reads of a fast5 file in the order of their names. Raises ValueError where there is none."""
    try:
        file = h5py.File(path, "r", locking=False)  # shared file systems may have no locks
    except OSError as error:
        cut = _TRUNCATED.search(str(error))
        raise ValueError(f"truncated: {cut[1]} of {cut[2]} bytes" if cut else str(error)) from error
    with file:
        _forget_the_past(file)
        names = [name for name in file if name.startswith("read_")]
        for index, name in enumerate(names):
            decode = partial(_multi_read, file, name, path.name, most_samples)
            yield Entry(name.removeprefix("read_"), index / len(names), decode)
        if not names:
            yield from _single_read_entries(file, path.name, most_samples)


def _forget_the_past(file: h5py.File) -> None:
    """Keep HDF5 from holding on to hundreds of MiB of the objects of reads gone by."""
    cache = file.id.get_mdc_config()
    cache.incr_mode = 0
    file.id.set_mdc_config(cache)


def _single_read_entries(file: h5py.File, filename: str, most_samples: int) -> Iterator[Entry]:
    groups = file.get("Raw/Reads", {})
    for name in groups:
        read_id = _text(groups[name].attrs.get("read_id")) or name
        decode = partial(_single_read, file, groups[name], read_id, filename, most_samples)
        yield Entry(read_id, 0.0, decode)
    if not groups:
        events_only = "Analyses/EventDetection_000" in file
        raise ValueError("events and no raw signal" if events_only else "HDF5 without reads")


def _multi_read(file: h5py.File, name: str, filename: str, most_samples: int) -> Read:
    group = _child(file, name)
    return _read(name.removeprefix("read_"), _child(group, "Raw"), group, filename, most_samples)


def _single_read(file: h5py.File, raw: h5py.Group, read_id: str, filename: str, most_samples: int) -> Read:
    return _read(read_id, raw, _child(file, "UniqueGlobalKey"), filename, most_samples)


def _read(read_id: str, raw: h5py.Group, about: h5py.Group, filename: str, most_samples: int) -> Read:
    channel = _child(about, "channel_id").attrs
    tracking = about["tracking_id"].attrs if "tracking_id" in about else {}
    return Read(
        read_id=read_id,
        signal=_signal(_child(raw, "Signal"), most_samples),
        calibration=Calibration(_number(channel, "offset"), _scale(channel)),
        sample_rate=_number(channel, "sampling_rate"),
        origin=replace(
            run_origin({key: _text(value) for key, value in tracking.items()}),
            channel=_count(channel, "channel_number"),
            mux=_count(raw.attrs, "start_mux"),
            read_number=_count(raw.attrs, "read_number"),
            start_sample=_count(raw.attrs, "start_time"),
            filename=filename,
        ),
    )


def _signal(dataset: h5py.Dataset, most_samples: int) -> Signal:
    if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 1 or dataset.dtype != np.int16:
        what = f"{dataset.dtype} of shape {dataset.shape}" if isinstance(dataset, h5py.Dataset) else "a group"
        raise ValueError(f"the signal is {what}, not int16 samples in one row")
    if dataset.size > most_samples:
        raise ValueError(too_long(dataset.size, most_samples))
    filters = dataset.id.get_create_plist()
    for index in range(filters.get_nfilters()):
        code, _, _, name = filters.get_filter(index)
        if not h5py.h5z.filter_avail(code):
            raise ValueError(
                f"the signal is compressed with HDF5 filter {code} {_text(name)!r}, unknown here"
            )
    # HDF5 reads what was never written as zeros.
    if dataset.chunks:
        missing = ceil(dataset.size / dataset.chunks[0]) - dataset.id.get_num_chunks()
        if missing > 0:
            raise ValueError(f"{missing} chunks of the signal were never written")
    elif dataset.size and not dataset.id.get_storage_size():
        raise ValueError("the signal was never written")
    signal: Signal = dataset[()].astype(np.int16, copy=False)
    return signal


def _child(group: h5py.Group, name: str) -> Any:
    if name not in group:
        raise ValueError(f"there is no {name} in {group.name}")
    return group[name]


def _scale(channel: Mapping[str, Any]) -> float:
    digitisation = _number(channel, "digitisation")
    if digitisation == 0:
        raise ValueError("digitisation is 0")
    return _number(channel, "range") / digitisation


def _number(attributes: Mapping[str, Any], name: str) -> float:
    if name not in attributes:
        raise ValueError(f"there is no {name} among the attributes")
    return float(_text(attributes[name]))


def _count(attributes: Mapping[str, Any], name: str) -> int | None:
    """Return a whole number, or None where the file says none: no call needs it."""
    try:
        count = int(_number(attributes, name))
    except (ValueError, OverflowError):
        return None
    return count if 0 <= count < 1 << 63 else None


def _text(value: Any) -> str:
    """Return an attribute as text, in whichever of HDF5's ways it was written."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    return value.decode(errors="replace") if isinstance(value, bytes) else "" if value is None else str(value)


class Fast5Writer:
    """Writes reads as one multi-read fast5, VBZ-compressed, that appears when the `with` block ends well.

    Reads are on disk as soon as they are written: memory does not grow with their number.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it imports pkg_resources, which warns its users' users
            library = import_module("ont_fast5_api.multi_fast5")
        with ExitStack() as opening:
            temporary = opening.enter_context(replacing(self._path))
            self._file = opening.enter_context(library.MultiFast5File(os.fspath(temporary), "w"))
            _forget_the_past(self._file.handle)
            self._cleanup = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.__exit__(kind, error, trace)

    def write(self, read: Read) -> None:
        """Add a read; what its origin leaves open is written as 0. ValueError where its id is taken."""
        origin = read.origin
        group = self._file.create_empty_read(read.read_id, origin.run_id)
        group.add_raw_data(
            read.signal,
            attrs={
                "read_id": read.read_id,
                "duration": np.uint32(len(read.signal)),
                "start_mux": np.uint8(origin.mux or 0),
                "read_number": np.int32(origin.read_number or 0),
                "start_time": np.uint64(origin.start_sample or 0),
                "median_before": float("nan"),
            },
        )
        group.add_channel_info(
            {
                "channel_number": str(origin.channel or 0),
                "digitisation": DIGITISATION,
                "offset": read.calibration.offset,
                "range": read.calibration.scale * DIGITISATION,
                "sampling_rate": read.sample_rate,
            }
        )
        if "tracking_id" not in group.handle:  # the reads of a run share the first one's
            group.add_context_tags({})
            group.add_tracking_id(
                {
                    "run_id": origin.run_id,
                    "flow_cell_id": origin.flow_cell_id,
                    "sample_id": origin.sample_id,
                    "exp_start_time": origin.run_started,
                    "device_id": origin.device_id,
                }
            )
