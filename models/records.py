"""A read and its call as a FASTQ or SAM record, unaligned, with the tags that Dorado writes.

Pure: values in, text out. Tags whose value the read's file did not say are left out.
Source: SAM v1.6, and the tags of Dorado's own output (qs du ns ts mx ch st rn fn, mv, RG).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from models.basecall import Basecall
from reads.read import Origin, Read

_UNMAPPED = "4\t*\t0\t0\t*\t*\t0\t0"
"""Flag, reference, position, mapping quality, CIGAR, and the mate's reference, position and distance."""
_INT32_END = 1 << 31


@dataclass(frozen=True, slots=True)
class ReadGroup:
    """A run called by a model: what the header of a SAM file says of its reads."""

    run_id: str
    model: str
    flow_cell_id: str = ""
    device_id: str = ""
    run_started: str = ""
    sample_id: str = ""

    @property
    def name(self) -> str:
        """The read group's ID."""
        return _clean(f"{self.run_id}_{self.model}")


def read_group(origin: Origin, model: str) -> ReadGroup | None:
    """Return the read group of a read, or None where its run is not known."""
    if not origin.run_id:
        return None
    return ReadGroup(
        run_id=origin.run_id,
        model=model,
        flow_cell_id=origin.flow_cell_id,
        device_id=origin.device_id,
        run_started=origin.run_started,
        sample_id=origin.sample_id,
    )


def sam_header(groups: Iterable[ReadGroup], *, version: str) -> str:
    """Return the header of an unaligned SAM file, written by `version` of this program."""
    lines = ["@HD\tVN:1.6\tSO:unknown"]
    for group in groups:
        fields = {
            "ID": group.name,
            "PU": group.flow_cell_id,
            "PM": group.device_id,
            "DT": group.run_started,
            "PL": "ONT",
            "DS": f"basecall_model={group.model} runid={group.run_id}",
            "LB": group.sample_id,
            "SM": group.sample_id,
        }
        said = [f"{name}:{_clean(value)}" for name, value in fields.items() if value]
        lines.append("\t".join(["@RG", *said]))
    lines.append(f"@PG\tID:basecaller\tPN:fiveways\tVN:{version}")
    return "".join(f"{line}\n" for line in lines)


def sam_record(read: Read, call: Basecall, group: ReadGroup | None, *, with_moves: bool = False) -> str:
    """Return the line of an unmapped SAM record, newline included."""
    bases, qualities = call.sequence or "*", call.qstring or "*"
    fields = [read.read_id, _UNMAPPED, bases, qualities, *_tags(read, call, group, with_moves=with_moves)]
    return "\t".join(fields) + "\n"


def fastq_record(read: Read, call: Basecall, group: ReadGroup | None, *, with_moves: bool = False) -> str:
    """Return the four lines of a FASTQ record; the tags follow the id, as samtools reads and writes them."""
    title = "\t".join([read.read_id, *_tags(read, call, group, with_moves=with_moves)])
    return f"@{title}\n{call.sequence}\n+\n{call.qstring}\n"


def _tags(read: Read, call: Basecall, group: ReadGroup | None, *, with_moves: bool) -> list[str]:
    origin = read.origin
    counts = {"mx": origin.mux, "ch": origin.channel, "rn": origin.read_number}
    texts = {"st": _started(read), "fn": origin.filename, "RG": group.name if group else ""}
    tags = [
        f"qs:f:{call.mean_q:.6g}",
        f"du:f:{read.duration_s:.6g}",
        f"ns:i:{len(read.signal)}",
        f"ts:i:{len(read.signal) - call.samples}",  # what was not called was cut from the start
        *(f"{name}:i:{count}" for name, count in counts.items() if count is not None and count < _INT32_END),
        *(f"{name}:Z:{_clean(text)}" for name, text in texts.items() if text),
    ]
    if with_moves:
        tags.append(f"mv:B:c,{call.stride}{_comma_separated(call.moves)}")
    return tags


def _started(read: Read) -> str:
    """Return when the read began, as ISO 8601 to the millisecond; empty where its file does not say."""
    if not read.origin.run_started or read.origin.start_sample is None:
        return ""
    try:
        run_started = datetime.fromisoformat(read.origin.run_started)
        began = run_started + timedelta(seconds=read.origin.start_sample / read.sample_rate)
    except (ValueError, OverflowError):  # a time that no calendar has describes nothing
        return ""
    return began.isoformat(timespec="milliseconds")


def _comma_separated(moves: NDArray[np.uint8]) -> str:
    """Return `,0,1,...`; a move table is the longest text of a record and has one digit an entry."""
    text = np.full(2 * len(moves), ord(","), np.uint8)
    text[1::2] = moves + ord("0")
    return text.tobytes().decode()


def _clean(text: str) -> str:
    """Return text fit for a field: control characters would end it, and SAM is UTF-8."""
    plain = "".join(character if character.isprintable() else "_" for character in text)
    return plain.encode(errors="replace").decode()
