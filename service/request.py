"""What a request asks for, from its query and its headers: read before its body, and without it. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from reads import wire
from service.answers import choose
from service.errors import (
    ImpossibleRequestError,
    MalformedRequestError,
    TooLargeError,
    UnsupportedTypeError,
)
from service.inference import JSON_LENGTH
from service.job import Priority
from service.settings import Settings

BODY_TYPES = (wire.OCTET_STREAM, wire.JSON, *wire.SIGNATURES)
INFERENCE = "open inference protocol"
"""The type of a body that says no type: JSON, and the tensors that may follow it."""
JSON_BYTES = 8 * 2**20
"""The longest JSON body: it takes many times its size to understand."""
HEAD_JSON_BYTES = 64 * 2**10
"""The longest JSON that tensors follow."""
HEADERS = {
    "model": "x-model",
    "read_id": "x-read-id",
    "sample_rate": "x-sample-rate",
    "offset": "x-offset",
    "scale": "x-scale",
}
"""The parameters, and the header that each can be given in instead of in the query."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request for a basecall, but for its signal."""

    model: str
    """Empty for the default."""
    words: wire.ReadWords
    body_type: str
    body_bytes: int | None
    """As Content-Length says; None where the body comes in pieces and ends when it ends."""
    answer_type: str
    priority: Priority
    within_s: float
    """Seconds from the request's head until its answer is of no use; infinite where there is no deadline."""
    json_bytes: int | None = None
    """How much of the body is JSON, where tensors follow it, as v2 allows."""

    @property
    def has_many(self) -> bool:
        """Return whether the body can have many reads, each of which says its own words."""
        return self.body_type in wire.SIGNATURES

    def samples(self, body_bytes: int) -> int:
        """Return how many samples a body of `body_bytes` is taken to have, before it is understood."""
        # Compressed signal takes about a byte a sample.
        return body_bytes if self.has_many else (body_bytes - (self.json_bytes or 0)) // wire.SAMPLE_BYTES

    def check_bytes(self, body_bytes: int, settings: Settings) -> None:
        """Raise TooLargeError where a body of `body_bytes` is more than such a body may have."""
        most_bytes, why = self._most_bytes(settings)
        if body_bytes > most_bytes:
            raise TooLargeError(f"the body is longer than {most_bytes} bytes; {why}")

    def _most_bytes(self, settings: Settings) -> tuple[int, str]:
        if self.body_type == wire.JSON:
            return JSON_BYTES, f"that is the most for JSON: send the signal as {wire.OCTET_STREAM}"
        if self.body_type == INFERENCE and self.json_bytes is None:
            return JSON_BYTES, "that is the most for JSON: send the signal as a binary tensor"
        if self.has_many:
            samples = settings.max_request_samples
            return samples * wire.SAMPLE_BYTES, f"a request may have {samples} samples here: send fewer reads"
        samples = settings.max_read_samples
        most_bytes = samples * wire.SAMPLE_BYTES + (self.json_bytes or 0)
        return most_bytes, f"a read may have {samples} samples here"


def parse_request(query: bytes, headers: Sequence[tuple[bytes, bytes]]) -> Wanted:
    """Return what a request with this query string and these headers asks for. Raises Problem."""
    fields = _fields(headers)
    words = _parameters(query, fields)
    model = words.pop("model", "")
    try:
        read_words = wire.parse_words(words)
    except wire.WireError as error:
        raise as_problem(error) from error
    body_type = _body_type(fields)
    if body_type in wire.SIGNATURES and (said := [word for word in words if word != "model"]):
        raise MalformedRequestError(
            f"{', '.join(said)} given for a body of many reads; each says its own, in the body"
        )
    return Wanted(
        model=model,
        words=read_words,
        body_type=body_type,
        body_bytes=_content_length(fields),
        answer_type=choose(fields.get("accept", "")),
        priority=_priority(fields.get("x-priority", "normal")),
        within_s=_within_s(fields.get("x-deadline-ms")),
    )


def parse_inference(model: str, headers: Sequence[tuple[bytes, bytes]]) -> Wanted:
    """Return what a request of the Open Inference Protocol for `model` asks for. Raises Problem."""
    fields = _fields(headers)
    _check_encoding(fields)
    text, body_bytes = fields.get(JSON_LENGTH), _content_length(fields)
    json_bytes = None if text is None else _length(JSON_LENGTH, text)
    if json_bytes is not None and json_bytes > min(HEAD_JSON_BYTES, body_bytes or HEAD_JSON_BYTES):
        raise MalformedRequestError(
            f"{JSON_LENGTH} is {json_bytes}; the body has {body_bytes}, and JSON before tensors may have "
            f"{HEAD_JSON_BYTES}"
        )
    return Wanted(
        model=model,
        words=wire.ReadWords(),
        body_type=INFERENCE,
        body_bytes=body_bytes,
        answer_type=wire.JSON,
        priority=_priority(fields.get("x-priority", "normal")),
        within_s=_within_s(fields.get("x-deadline-ms")),
        json_bytes=json_bytes,
    )


def as_problem(error: wire.WireError) -> MalformedRequestError | ImpossibleRequestError:
    """Return the problem that an error of the wire is."""
    kind = ImpossibleRequestError if isinstance(error, wire.ImpossibleError) else MalformedRequestError
    return kind(str(error))


def _fields(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1").strip() for name, value in headers}


def _parameters(query: bytes, fields: dict[str, str]) -> dict[str, str]:
    words: dict[str, str] = {}
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, strict_parsing=bool(query), errors="strict"
        )
    except ValueError as error:
        raise MalformedRequestError(f"the query is not of the form name=value&...: {error}") from error
    for name, value in pairs:
        if name not in HEADERS:
            raise MalformedRequestError(f"{name[:100]!r} is no parameter; there are {', '.join(HEADERS)}")
        if name in words:
            raise MalformedRequestError(f"{name} is given twice in the query")
        words[name] = value
    for name, header in HEADERS.items():
        if header in fields:
            if name in words:
                raise MalformedRequestError(f"{name} is given in the query and in {header}; give it once")
            words[name] = fields[header]
    return words


def _check_encoding(fields: dict[str, str]) -> None:
    encoding = fields.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise UnsupportedTypeError(f"the body is encoded as {encoding[:100]}; send it as it is")


def _body_type(fields: dict[str, str]) -> str:
    _check_encoding(fields)
    body_type = fields.get("content-type", wire.OCTET_STREAM).partition(";")[0].strip().lower()
    if body_type not in BODY_TYPES:
        raise UnsupportedTypeError(
            f"the body is said to be {body_type[:100]!r}; send {', '.join(BODY_TYPES)} "
            f"(curl: -H 'Content-Type: {wire.OCTET_STREAM}')"
        )
    return body_type


def _content_length(fields: dict[str, str]) -> int | None:
    text = fields.get("content-length")
    if text is None:
        return None if "transfer-encoding" in fields else 0
    return _length("Content-Length", text)


def _length(field: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise MalformedRequestError(f"{field} is {text[:100]!r}, not a number of bytes")
    return int(text)


def _priority(text: str) -> Priority:
    try:
        return Priority[text.upper()]
    except KeyError as error:
        there_are = ", ".join(priority.name.lower() for priority in Priority)
        raise MalformedRequestError(f"X-Priority is {text[:100]!r}; there are {there_are}") from error


def _within_s(text: str | None) -> float:
    if text is None:
        return math.inf
    try:
        within_ms = float(text)
    except ValueError as error:
        raise MalformedRequestError(f"X-Deadline-Ms is {text[:100]!r}, not a number") from error
    if not within_ms > 0:
        raise ImpossibleRequestError(f"X-Deadline-Ms is {text[:100]}; it is a number of milliseconds above 0")
    return within_ms / 1e3
