"""What a request can end with other than a basecall: each class owns its status code and its title.

Problem (an answer in the form of RFC 9457; the detail says what is wrong and what would be right)
├── MalformedRequestError   400
├── UnauthorizedError       401
├── UnknownModelError       404
├── NotAcceptableError      406
├── SlowUploadError         408
├── TooLargeError           413
├── UnsupportedTypeError    415
├── ImpossibleRequestError  422
├── LongHeadError           431
├── EngineError             500
├── InternalError           500
└── BusyError               the same request can succeed later: carries Retry-After
    ├── ClientBusyError     429
    ├── CrowdedError        503
    ├── BacklogFullError    503
    ├── NotReadyError       503
    ├── DrainingError       503
    └── DeadlineError       504

ClientGoneError (nobody is left to answer) stands apart.
"""

import math
import re
from collections.abc import Iterator
from typing import ClassVar


class ClientGoneError(Exception):
    """The client closed its connection before it had its answer."""


class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """An answer that is not a basecall."""

    status: ClassVar[int]
    title: ClassVar[str]

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Return the header fields that go with the status."""
        return []

    @property
    def type_uri(self) -> str:
        """Return the URI that names this kind of problem."""
        words = re.findall("[A-Z][a-z]+", type(self).__name__.removesuffix("Error"))
        return "urn:fiveways:problem:" + "-".join(words).lower()

    @property
    def members(self) -> dict[str, str | int]:
        """Return the members of the problem document, RFC 9457, that do not depend on the request."""
        return {
            "type": self.type_uri,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }

    def document(self, request_id: str) -> dict[str, str | int]:
        """Return the whole problem document."""
        return {**self.members, "request_id": request_id}


class MalformedRequestError(Problem):
    """Not of the form that it should have."""

    status, title = 400, "The request is malformed"


class UnauthorizedError(Problem):
    """No bearer token, or one that is not among those allowed."""

    status, title = 401, "A valid bearer token is needed"

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Name the scheme."""
        return [("www-authenticate", "Bearer")]


class UnknownModelError(Problem):
    """A model that is not served here."""

    status, title = 404, "No such model is served here"


class NotAcceptableError(Problem):
    """No form of answer that the client takes."""

    status, title = 406, "None of the accepted types can be given"


class SlowUploadError(Problem):
    """The body did not arrive in time."""

    status, title = 408, "The body took too long to arrive"

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Say that what may still come is not waited for."""
        return [("connection", "close")]


class TooLargeError(Problem):
    """More than this service takes in one request."""

    status, title = 413, "The request is too large"


class UnsupportedTypeError(Problem):
    """A body of a type that is not understood."""

    status, title = 415, "The body's type is not supported"


class ImpossibleRequestError(Problem):
    """Well-formed, and cannot be called."""

    status, title = 422, "The request cannot be called"


class LongHeadError(Problem):
    """A request's first line and headers that are longer than they may be."""

    status, title = 431, "The request's head is too long"

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Say that the rest of it is not read."""
        return [("connection", "close")]


class EngineError(Problem):
    """The engine failed on the batch that this read was in."""

    status, title = 500, "The engine failed"


class InternalError(Problem):
    """A mistake of the service's own."""

    status, title = 500, "The service failed"


class BusyError(Problem):
    """Not now: `retry_after_s` is when it can succeed, computed from the drain rate."""

    closes: ClassVar[bool] = False
    """Whether the connection is of no more use, so that the next is made anew, perhaps to another replica."""

    def __init__(self, detail: str, *, retry_after_s: float) -> None:
        super().__init__(detail)
        self.retry_after_s = max(1, math.ceil(retry_after_s))

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Say when to come again, and on which connection not to."""
        closing = [("connection", "close")] if self.closes else []
        return [("retry-after", str(self.retry_after_s)), *closing]


class ClientBusyError(BusyError):
    """This client has as many requests in flight as one client may."""

    status, title = 429, "Too many requests of one client in flight"


class CrowdedError(BusyError):
    """More connections than there may be."""

    status, title, closes = 503, "Too many connections", True


class BacklogFullError(BusyError):
    """More signal is queued than may be."""

    status, title = 503, "The backlog is full"


class NotReadyError(BusyError):
    """The model has not shown yet that it calls."""

    status, title = 503, "The service is not ready"


class DrainingError(BusyError):
    """The service is stopping."""

    status, title, closes = 503, "The service is stopping", True


class DeadlineError(BusyError):
    """The request's deadline has passed, or would have."""

    status, title = 504, "The deadline cannot be met"


def kinds(kind: type[Problem] = Problem) -> Iterator[type[Problem]]:
    """Yield the problems that a request can end with."""
    if "status" in vars(kind):
        yield kind
    for below in kind.__subclasses__():
        yield from kinds(below)
