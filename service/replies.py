"""What the service answers, understood by a client: a FASTQ or SAM record as a basecall, a refusal as words.

Pure. A record is the whole of a call: its sequence and qualities, and in its tags how much of the read was
called and, in SAM, the moves. Whatever an answer holds that cannot be is a ValueError.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import orjson

from models.basecall import Basecall

FASTQ, SAM = "text/x-fastq", "text/x-sam"
"""What is asked for: SAM where the moves are wanted, which are the larger part of it."""
_NOT_READY = {"urn:fiveways:problem:not-ready", "urn:fiveways:problem:draining"}
_TAG = re.compile(r"([A-Za-z][A-Za-z0-9]):[A-Za-z]:(.*)")
_QUEUE = re.compile(r"\bqueue;dur=([0-9.]+)")


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """A model that the service serves; `sample_rate` of the reads it takes [Hz], 0 where any will do."""

    name: str
    sample_rate: float


def find_model(document: bytes, name: str) -> RemoteModel:
    """Return the model of that name, the default for an empty one, from an answer of /v1/models.

    Raises LookupError where it is not served, and ValueError where this is no such answer.
    """
    try:
        listed = orjson.loads(document)["models"]
        served = {one["name"]: RemoteModel(one["name"], float(one["sample_rate"])) for one in listed}
        default = next((one["name"] for one in listed if one["default"]), "")
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError("it is not answered as the service would") from error
    if (name or default) not in served:
        raise LookupError(f"no model {name!r} is served; there are {', '.join(served)}")
    return served[name or default]


def basecall_of(answer: bytes, form: str, read_id: str) -> Basecall:
    """Return the call that the service answered in `form`, FASTQ or SAM. Raises ValueError."""
    text = answer.decode("ascii", errors="strict")
    if form == SAM:
        record = next((line for line in text.splitlines() if not line.startswith("@")), "").split("\t")
        if len(record) < 11:
            raise ValueError("the answer is no SAM record")
        name, sequence, qstring, tags = record[0], record[9], record[10], record[11:]
        if sequence == "*":
            sequence = qstring = ""
    else:
        lines = text.split("\n")
        if len(lines) != 5 or lines[0][:1] != "@":
            raise ValueError("the answer is no FASTQ record")
        (name, *tags), sequence, qstring = lines[0][1:].split("\t"), lines[1], lines[3]
    if name != read_id:
        raise ValueError(f"the answer is the call of another read, {name[:300]!r}")
    said = _tags(tags)
    stride, moves = _moves(said["mv"]) if form == SAM else (0, np.zeros(0, np.uint8))
    if len(sequence) != len(qstring) or (form == SAM and len(sequence) != int(moves.sum())):
        raise ValueError("the answer's sequence, qualities and moves disagree")
    return Basecall(sequence, qstring, moves, stride, samples=int(said["ns"]) - int(said["ts"]))


@dataclass(frozen=True, slots=True)
class Refusal:
    """What an answer that is no call says; `not_ready`: that the service is loading or stopping."""

    words: str
    not_ready: bool = False


def refusal_of(status: int, body: bytes) -> Refusal:
    """Return what a problem document says, or the status where the answer is none."""
    try:
        document = orjson.loads(body)
        return Refusal(f"{document['title']}: {document['detail']}", document["type"] in _NOT_READY)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return Refusal(f"it was answered with status {status}")


def retry_after_s(field: str | None) -> float | None:
    """Return the seconds that a Retry-After field names; None where it names none."""
    return float(field) if field is not None and field.isascii() and field.isdigit() else None


def queue_s(server_timing: str) -> float:
    """Return how long a request was queued, as Server-Timing has it; 0 where it does not say."""
    found = _QUEUE.search(server_timing)
    return float(found[1]) / 1e3 if found else 0.0


def _tags(tags: Iterable[str]) -> dict[str, str]:
    found = {match[1]: match[2] for match in map(_TAG.fullmatch, tags) if match}
    if missing := {"ns", "ts"} - found.keys():
        raise ValueError(f"the answer lacks the tags {', '.join(sorted(missing))}")
    return found | {"mv": found.get("mv", "")}


def _moves(text: str) -> "tuple[int, np.ndarray[tuple[int], np.dtype[np.uint8]]]":
    """Return the stride and the moves of a tag mv, `c,stride,0,1,...`."""
    kind, _, rest = text.partition(",")
    stride, _, listed = rest.partition(",")
    moves = np.frombuffer(listed.encode(), np.uint8)[::2] - ord("0")
    if kind != "c" or not stride.isdigit() or (moves > 1).any():
        raise ValueError("the answer's moves are none")
    return int(stride), moves
