"""pod5: tables of Arrow with VBZ-compressed signal; a reader that finds before it decodes, and a writer.

The pod5 library takes a second to import, so that happens when a file is opened.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from os import SEEK_END
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import numpy as np

from reads.atomic import replacing
from reads.entry import Entry
from reads.read import Calibration, Origin, Read
from reads.tracking import run_origin
from reads.validity import MAX_SIGNAL_SAMPLES, too_long

_EPOCH = datetime.fromtimestamp(0, UTC)
"""What a file says of a run whose start nobody knows."""
_ADC_MIN, _ADC_MAX = -4096, 4095
"""The converter's range in written files."""


def entries(path: Path, most_samples: int = MAX_SIGNAL_SAMPLES) -> Iterator[Entry]:
    """Yield the reads of a pod5 file in its order. A damaged batch of the read table is one entry."""
    with path.open("rb") as file:
        signature = file.read(8)
        file.seek(-8, SEEK_END)
        if file.read() != signature:
            raise ValueError("truncated: the table of its reads was at the end")
    with import_module("pod5").Reader(path) as reader:
        for index in range(reader.batch_count):
            before = index / reader.batch_count
            try:
                batch = reader.get_batch(index)
                records = list(batch.reads())
                ids = [str(record.read_id) for record in records]
            except Exception as error:  # noqa: BLE001  whatever Arrow makes of damage: other batches may be fine
                yield Entry.refused(f"batch {index} of {reader.batch_count}", before, error)
                continue
            for row, (read_id, record) in enumerate(zip(ids, records, strict=True)):
                done = before + row / len(records) / reader.batch_count
                yield Entry(read_id, done, partial(_read, record, read_id, path.name, most_samples))


def _read(record: Any, read_id: str, filename: str, most_samples: int) -> Read:
    run, pore = record.run_info, record.pore
    if record.sample_count > most_samples:
        raise ValueError(too_long(record.sample_count, most_samples))
    signal = record.signal
    if len(signal) != record.sample_count:
        raise ValueError(f"the signal has {len(signal)} samples, its table says {record.sample_count}")
    tracked = run_origin(run.tracking_id)
    started = run.acquisition_start_time
    return Read(
        read_id=read_id,
        signal=signal,
        calibration=Calibration(record.calibration.offset, record.calibration.scale),
        sample_rate=float(run.sample_rate),
        origin=replace(
            tracked,
            channel=pore.channel,
            mux=pore.well,
            read_number=record.read_number,
            start_sample=record.start_sample,
            run_id=run.acquisition_id,
            flow_cell_id=run.flow_cell_id or tracked.flow_cell_id,
            sample_id=run.sample_id or tracked.sample_id,
            run_started="" if started == _EPOCH else started.isoformat(),
            device_id=tracked.device_id or run.sequencer_position,
            filename=filename,
        ),
    )


class Pod5Writer:
    """Writes reads as one pod5, VBZ-compressed, that appears when the `with` block ends well.

    The library writes as it goes: memory does not grow with the number of reads.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cleanup = ExitStack()
        self._runs: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._library = import_module("pod5")
        with ExitStack() as opening:
            temporary = opening.enter_context(replacing(self._path))
            self._file = opening.enter_context(self._library.Writer(temporary, software_name="fiveways"))
            self._cleanup = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.__exit__(kind, error, trace)

    def write(self, read: Read) -> None:
        """Add a read; what its origin leaves open is written as 0 or empty. Raises ValueError for what pod5
        cannot say: an id that is no UUID, a broken sample rate, one run described in two ways."""
        if not read.sample_rate.is_integer():
            raise ValueError(f"{read.read_id}: pod5 keeps whole sample rates, not {read.sample_rate} Hz")
        pod5, origin = self._library, read.origin
        run = self._run_info(origin, int(read.sample_rate))
        if self._runs.setdefault(origin.run_id, run) != run:
            raise ValueError(
                f"{read.read_id}: run {origin.run_id!r} was described differently by an earlier read"
            )
        self._file.add_read(
            pod5.Read(
                read_id=UUID(read.read_id),
                pore=pod5.Pore(origin.channel or 0, origin.mux or 0, "not_set"),
                calibration=pod5.Calibration(read.calibration.offset, read.calibration.scale),
                read_number=origin.read_number or 0,
                start_sample=origin.start_sample or 0,
                median_before=float("nan"),
                end_reason=pod5.EndReason(pod5.EndReasonEnum.UNKNOWN, forced=False),
                run_info=run,
                signal=np.ascontiguousarray(read.signal),
            )
        )

    def _run_info(self, origin: Origin, sample_rate: int) -> Any:
        started = datetime.fromisoformat(origin.run_started) if origin.run_started else _EPOCH
        return self._library.RunInfo(
            acquisition_id=origin.run_id,
            acquisition_start_time=started,
            adc_max=_ADC_MAX,
            adc_min=_ADC_MIN,
            context_tags={},
            experiment_name="",
            flow_cell_id=origin.flow_cell_id,
            flow_cell_product_code="",
            protocol_name="",
            protocol_run_id="",
            protocol_start_time=started,
            sample_id=origin.sample_id,
            sample_rate=sample_rate,
            sequencing_kit="",
            sequencer_position=origin.device_id,
            sequencer_position_type="",
            software="fiveways",
            system_name="",
            system_type="",
            tracking_id={},
        )
