"""One user's way to the service: HTTP over a path, from the network namespace the path begins in.

An answer is either right or an error that says what is wrong with it; nothing is retried. Knows neither
schedules nor statistics.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import orjson
from geventhttpclient.response import HTTPParseError, HTTPSocketPoolResponse
from geventhttpclient.url import URL

from loadgen.bodies import Body
from loadgen.connection import PathConnection
from loadgen.errors import CallError, RejectedError
from loadgen.plan import Connection
from loadgen.tally import STAGES
from reads.wire import JSON, OCTET_STREAM

NDJSON = "application/x-ndjson"
MAX_RETRY_AFTER_S = 60.0
"""The longest a user stays away on the service's word."""

_STAGE = re.compile(r"([\w-]+);dur=([0-9.]+)")


@dataclass(frozen=True, slots=True)
class Answer:
    """A right answer."""

    sequence: str
    bases: int
    samples: int
    response_bytes: int
    client_ms: float
    """From before the connection is taken or opened until the last byte is received."""
    stage_ms: Mapping[str, float]
    """What Server-Timing said about each of tally.STAGES that it named."""


class BasecallClient:
    """At most one connection to `url`, opened in the namespace `netns` (None: where the process is).

    With connection "new", every request has a connection of its own. A context manager; closing it closes
    the connection.
    """

    def __init__(
        self,
        url: str,
        *,
        netns: str | None = None,
        model: str = "",
        connection: Connection = "keep-alive",
        connect_timeout_s: float = 10.0,
        network_timeout_s: float = 60.0,
    ) -> None:
        target = URL(url)
        self._model = model
        self._prefix = target.path.rstrip("/")
        self._model_query = f"model={quote(model)}" if model else ""
        self._connection = PathConnection(
            target,
            netns=netns,
            keep_alive=connection == "keep-alive",
            connection_timeout=connect_timeout_s,
            network_timeout=network_timeout_s,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def basecall(self, body: Body) -> Answer:
        """Send one body and return its answer. Raises CallError, of these RejectedError for a 503."""
        query = "&".join(filter(None, (body.query, self._model_query)))
        uri = f"{self._prefix}/v1/basecall{query and '?' + query}"
        started_s = time.perf_counter()
        response, content = self._request("POST", uri, body.content, body.media_type)
        client_ms = (time.perf_counter() - started_s) * 1e3
        if response.status_code != 200:
            raise _refusal(response, content)
        answer = _checked(content, body, self._model)
        return Answer(
            sequence=answer["sequence"],
            bases=len(answer["sequence"]),
            samples=body.samples,
            response_bytes=len(content),
            client_ms=client_ms,
            stage_ms=parse_server_timing(str(response.get("server-timing", ""))),
        )

    def metrics(self) -> str:
        """Return the service's /metrics page. Raises CallError."""
        response, content = self._request("GET", f"{self._prefix}/metrics")
        if response.status_code != 200:
            raise _refusal(response, content)
        return content.decode()

    def _request(
        self, method: str, uri: str, body: bytes | memoryview = b"", media_type: str = ""
    ) -> tuple[HTTPSocketPoolResponse, bytes]:
        # Of a body that can have many reads, the answer is a line a read: here there is one.
        accept = JSON if media_type == OCTET_STREAM else NDJSON
        fields = f"Content-Type: {media_type}\r\nAccept: {accept}\r\n" if media_type else ""
        try:
            response = self._connection.request(method, uri, fields, body)
            return response, response.read()
        except (OSError, HTTPParseError) as error:
            raise CallError(f"{type(error).__name__}: {error}") from error


def parse_server_timing(header: str) -> dict[str, float]:
    """Return the durations in ms of the STAGES that a Server-Timing header names."""
    return {name: float(ms) for name, ms in _STAGE.findall(header) if name in STAGES}


def _checked(content: bytes, body: Body, model: str) -> dict[str, Any]:
    """Return the answer in `content`. Raises CallError where it cannot be the answer to `body`."""
    try:
        answer = orjson.loads(content)
        if "error" in answer:
            # Where many reads can be asked for, one that is refused has a record and no status of its own.
            raise _refused_record(answer["error"])
        sequence, qstring = answer["sequence"], answer["qstring"]
        bases, qualities = len(sequence), len(qstring)
        expected = (
            ("model", answer["model"], model or answer["model"]),
            ("read_id", answer["read_id"], body.read_id),
            ("samples", answer["samples"], body.samples),
            ("bases", answer["bases"], bases),
        )
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise CallError(f"malformed answer: {error!r}") from error
    for name, said, value in expected:
        if said != value:
            raise CallError(f"wrong answer: {name} is {said!r}, not {value!r}")
    if qualities != bases:
        raise CallError(f"wrong answer: {bases} bases with {qualities} qualities")
    return answer  # type: ignore[no-any-return]  # what a JSON document is, orjson leaves open


def _refused_record(problem: Mapping[str, Any]) -> CallError:
    """Return the error for the record of a read that was refused, in the words of its problem."""
    words = f"{problem['status']} {problem['title']}"
    if problem["status"] == 503:
        return RejectedError(words, retry_after_s=0.0)
    return CallError(words if problem["status"] >= 500 else f"{words}: {problem['detail']}")


def _refusal(response: HTTPSocketPoolResponse, content: bytes) -> CallError:
    """Return the error for an answer whose status is not 200, in the words of its problem document."""
    status = response.status_code
    try:
        problem = orjson.loads(content)
        words = f"{problem['title']}: {problem['detail']}" if status < 500 else str(problem["title"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        words = str(response.status_message or "")
    if status == 503:
        after = str(response.get("retry-after", "")).strip()
        return RejectedError(
            f"503 {words}", retry_after_s=min(float(after), MAX_RETRY_AFTER_S) if after.isdigit() else 0.0
        )
    return CallError(f"{status} {words}")
