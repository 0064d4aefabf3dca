"""An answer to many reads, sent while they are called: each read's record as soon as it is there.

It begins with the first record, so that what goes wrong before is an answer of its own. From then on every
read gets a record, and what goes wrong is said in those of the reads that it keeps from being called.
"""

from collections.abc import Iterable

from starlette.types import Send

from service.answers import Form, Refusal
from service.errors import Problem
from service.exchange import Exchange


class AnswerStream:
    """The records, in `form`, that one request is owed: those of the reads `owed`, all named differently."""

    def __init__(self, exchange: Exchange, send: Send, form: Form, owed: Iterable[str]) -> None:
        self._exchange = exchange
        self._send = send
        self._form = form
        self._owed = dict.fromkeys(owed)

    async def add(self, content: bytes, settled: Iterable[str]) -> None:
        """Send records in the stream's form; `settled` are those of the owed reads that are among them."""
        lead = self._form.between
        if not self._exchange.refuse_rest:
            self._exchange.refuse_rest = self._refuse_rest
            await self._exchange.begin(self._send, self._form.media_type)
            lead = self._form.begin()
        await self._exchange.go_on(self._send, lead + content)
        for read_id in settled:
            del self._owed[read_id]

    async def end(self) -> None:
        """Say that this was all."""
        await self._exchange.go_on(self._send, self._form.end, more=False)

    async def _refuse_rest(self, problem: Problem) -> None:
        rest = [Refusal(read_id, problem) for read_id in self._owed]
        if rest:
            await self.add(self._form.records(rest), list(self._owed))
        await self.end()
