"""What a client of the service can meet.

ClientError
├── NotServedError      an address, a token or a model is wrong: nothing would be called, however often asked
├── UnreachableError    no replica has taken anything for as long as was to be waited
└── NotCalledError      one read was not called; others may be
TroubleError (the same request can be sent again) stands apart: it ends with the sending.
├── RefusedError        not now; the replica may have said when
└── LostError           the connection was lost, or there was none
"""


class ClientError(Exception):
    """Base of what a client raises; the message is one line for people."""


class NotServedError(ClientError):
    """Something that was said to the client cannot be."""


class UnreachableError(ClientError):
    """No replica takes anything."""


class NotCalledError(ClientError):
    """One read was not called."""


class TroubleError(Exception):
    """A request came to nothing, and can be sent again."""


class RefusedError(TroubleError):
    """A replica takes no request now; `retry_after_s` is when it said that it would, None if it did not.

    One that is loading or stopping, `not_ready`, has to be asked whether it is ready first.
    """

    def __init__(self, why: str, retry_after_s: float | None, *, not_ready: bool = False) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s
        self.not_ready = not_ready


class LostError(TroubleError):
    """No whole answer came; `sent` unless there was no connection to send the request on."""

    def __init__(self, why: str, *, sent: bool = True) -> None:
        super().__init__(why)
        self.sent = sent
