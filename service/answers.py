"""A basecall as an answer: the media types that it can be given in, and which of them a client gets. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import orjson

from models.basecall import Basecall
from models.records import fastq_record, sam_header, sam_record
from reads.read import Read
from service.errors import NotAcceptableError

JSON, FASTQ, SAM = "application/json", "text/x-fastq", "text/x-sam"


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The call of one read by the model of that name."""

    model: str
    read: Read
    call: Basecall


def as_json(answer: Answer) -> bytes:
    """Return the answer as one JSON object; `samples` are those of the read."""
    call = answer.call
    return orjson.dumps(
        {
            "model": answer.model,
            "read_id": answer.read.read_id,
            "samples": len(answer.read.signal),
            "bases": len(call.sequence),
            "sequence": call.sequence,
            "qstring": call.qstring,
            "mean_q": round(call.mean_q, 3),
        }
    )


def as_fastq(answer: Answer) -> bytes:
    """Return the answer as one FASTQ record."""
    return fastq_record(answer.read, answer.call, None).encode()


def as_sam(answer: Answer) -> bytes:
    """Return the answer as SAM: a header, and one unaligned record with its moves."""
    header = sam_header([], version=version("fiveways"))
    return (header + sam_record(answer.read, answer.call, None, with_moves=True)).encode()


FORMS: dict[str, Callable[[Answer], bytes]] = {JSON: as_json, FASTQ: as_fastq, SAM: as_sam}
"""How to write each type; the first is for those who do not mind."""


def choose(accept: str) -> str:
    """Return the type to answer in, for an Accept field; NotAcceptableError where there is none.

    The client's weights decide, then the order of FORMS (RFC 9110, 12.5.1).
    """
    if not accept.strip():
        return JSON
    weights = _weights(accept)
    best = max(FORMS, key=lambda form: _weight(form, weights))
    if _weight(best, weights) <= 0:
        raise NotAcceptableError(f"there is no {accept[:200]}; there are {', '.join(FORMS)}")
    return best


def _weights(accept: str) -> dict[str, float]:
    weights = {}
    for item in accept.split(","):
        media, *parameters = (part.strip().lower() for part in item.split(";"))
        q = next((value for name, _, value in (p.partition("=") for p in parameters) if name == "q"), "1")
        try:
            weights[media] = float(q)
        except ValueError:
            weights[media] = 0.0
    return weights


def _weight(form: str, weights: dict[str, float]) -> float:
    """Return the weight of the most specific range that `form` is in."""
    ranges = (form, form.partition("/")[0] + "/*", "*/*")
    return next((weights[name] for name in ranges if name in weights), 0.0)
