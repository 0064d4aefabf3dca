"""Basecalls as an answer: the media types that they can be given in, and which of them a client gets. Pure.

Every read of a request has one record in its answer. That of a read which could not be called has no bases
and says why, in every form: a reader of the others need not know of it.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib.metadata import version

import orjson

from models.basecall import Basecall
from models.records import fastq_record, sam_header, sam_record
from reads.read import Read
from service import arrow_answers
from service.errors import NotAcceptableError, Problem

JSON, NDJSON, FASTQ, SAM = "application/json", "application/x-ndjson", "text/x-fastq", "text/x-sam"
ARROW = "application/vnd.apache.arrow.stream"
REFUSED_FLAGS = 0x4 | 0x200
"""Of a SAM record without bases: unmapped, and not passing quality controls."""
_NO_NAME = re.compile(r"[^!-?A-~]")
_NAME_CHARACTERS = 254


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The call of one read by the model of that name."""

    model: str
    read: Read
    call: Basecall


@dataclass(frozen=True, slots=True, eq=False)
class Refusal:
    """A read of several that is not called, and the answer that it would have had alone."""

    read_id: str
    problem: Problem

    @property
    def name(self) -> str:
        """Return its id in a form that every answer can carry: it may be the id that is wrong."""
        return _NO_NAME.sub("_", self.read_id)[:_NAME_CHARACTERS] or "_"

    @property
    def detail(self) -> str:
        """Return what is wrong, as one line of text: it may quote what was sent."""
        text = self.problem.detail.encode(errors="replace").decode()
        return "".join(character if character.isprintable() else " " for character in text)

    @property
    def tag(self) -> str:
        """Return the tag of a SAM or FASTQ record that says why it has no bases."""
        return f"er:Z:{self.problem.status} {self.detail}"


Record = Answer | Refusal


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """How records become a body: what it begins with, each of them, what is between them, its end."""

    media_type: str
    record: Callable[[Record], bytes]
    begin: Callable[[], bytes] = bytes
    between: bytes = b""
    end: bytes = b""

    def records(self, records: Iterable[Record]) -> bytes:
        """Return neighbours."""
        return self.between.join(map(self.record, records))

    def whole(self, answer: Answer) -> tuple[bytes, list[tuple[str, str]]]:
        """Return the body of an answer of one, and the header fields that go with it."""
        return self.begin() + self.record(answer) + self.end, []


def _json(record: Record) -> bytes:
    if isinstance(record, Refusal):
        error = record.problem.members | {"detail": record.detail}
        return orjson.dumps({"read_id": record.name, "error": error})
    call = record.call
    return orjson.dumps(
        {
            "model": record.model,
            "read_id": record.read.read_id,
            "samples": len(record.read.signal),
            "bases": len(call.sequence),
            "sequence": call.sequence,
            "qstring": call.qstring,
            "mean_q": round(call.mean_q, 3),
        }
    )


def _ndjson(record: Record) -> bytes:
    return _json(record) + b"\n"


def _fastq(record: Record) -> bytes:
    if isinstance(record, Refusal):
        return f"@{record.name}\t{record.tag}\n\n+\n\n".encode()
    return fastq_record(record.read, record.call, None).encode()


def _sam(record: Record) -> bytes:
    if isinstance(record, Refusal):
        return f"{record.name}\t{REFUSED_FLAGS}\t*\t0\t0\t*\t*\t0\t0\t*\t*\t{record.tag}\n".encode()
    return sam_record(record.read, record.call, None, with_moves=True).encode()


def _arrow(record: Record) -> bytes:
    if isinstance(record, Refusal):
        return arrow_answers.refused(record.name, record.problem.status, record.detail)
    return arrow_answers.called(record.read, record.call)


def _sam_header() -> bytes:
    return sam_header([], version=version("fiveways")).encode()


FORMS = {
    form.media_type: form
    for form in (
        Form(JSON, _json),
        Form(FASTQ, _fastq),
        Form(SAM, _sam, begin=_sam_header),
        Form(NDJSON, _ndjson),
        Form(ARROW, _arrow, begin=arrow_answers.begin, end=arrow_answers.END),
    )
}
"""How to write each type; the first is for those who do not mind."""
FORMS_OF_MANY = FORMS | {JSON: replace(FORMS[JSON], begin=lambda: b"[\n", between=b",\n", end=b"\n]\n")}
"""The same where a request can have many reads: a JSON document of them is an array, one a line."""


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
