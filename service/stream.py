"""An answer to many reads, sent while they are called: each read's record as soon as it is there.

It begins with the first record, so that what goes wrong before is an answer of its own. From then on every
read gets a record, and what goes wrong is said in those of the reads that it keeps from being called.
"""

from collections.abc import Iterable, Sequence

from starlette.types import Send

from service.answers import Form, Record, Refusal
from service.errors import Problem
from service.exchange import Exchange


class AnswerStream:
    """The records, in `form`, that one request is owed: those of the reads `owed`, all named differently."""

    def __init__(self, exchange: Exchange, send: Send, form: Form, owed: Iterable[str]) -> None:
        self._exchange = exchange
        self._send = send
        self._form = form
        self._owed = dict.fromkeys(owed)

    async def add(self, records: Sequence[Record], content: bytes) -> None:
        """Send `records`, which are `content` in the stream's form."""
        lead = self._form.between
        if not self._exchange.refuse_rest:
            self._exchange.refuse_rest = self._refuse_rest
            await self._exchange.begin(self._send, self._form.media_type)
            lead = self._form.begin()
        await self._exchange.go_on(self._send, lead + content)
        for record in records:
            if not isinstance(record, Refusal):
                del self._owed[record.read.read_id]
            else:
                self._owed.pop(record.read_id, None)

    async def end(self) -> None:
        """Say that this was all."""
        await self._exchange.go_on(self._send, self._form.end, more=False)

    async def _refuse_rest(self, problem: Problem) -> None:
        rest = [Refusal(read_id, problem) for read_id in self._owed]
        if rest:
            await self.add(rest, self._form.records(rest))
        await self.end()
