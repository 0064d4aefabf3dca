"""From loading to ready to draining: whether requests are taken, and how those in flight come to an end.

Lives in the event loop; knows neither models nor sockets.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum

from service.errors import DeadlineError, DrainingError, NotReadyError

LOADING_RETRY_S = 2.0
"""When to ask a loading service again: how long its model still takes is not known."""


class Phase(Enum):
    """What a service is doing."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"


class Lifecycle:
    """The phase of a service, and its requests in flight."""

    def __init__(self) -> None:
        self.phase = Phase.LOADING
        self._limits: set[asyncio.Timeout] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopped = False

    @property
    def requests(self) -> int:
        """Return how many requests are in flight."""
        return len(self._limits)

    def check_open(self, retry_after_s: Callable[[], float]) -> None:
        """Raise NotReadyError or DrainingError where no requests are taken."""
        if self.phase is Phase.LOADING:
            raise NotReadyError("the model is being loaded", retry_after_s=LOADING_RETRY_S)
        if self.phase is Phase.DRAINING:
            raise DrainingError("no new work is taken; another replica may", retry_after_s=retry_after_s())

    @asynccontextmanager
    async def request(
        self, within_s: float, retry_after_s: Callable[[], float]
    ) -> AsyncIterator[asyncio.Timeout]:
        """Be in flight, for `within_s` seconds at most; yields the limit, which can be moved.

        Raises DeadlineError where the time is over, and DrainingError where the service cannot wait for it.
        """
        # asyncio counts to no infinity: None is no limit.
        limit = asyncio.timeout(None if math.isinf(within_s) else within_s)
        try:
            async with limit:
                self._limits.add(limit)
                self._idle.clear()
                try:
                    yield limit
                finally:
                    self._limits.discard(limit)
                    if not self._limits:
                        self._idle.set()
        except TimeoutError as error:
            if not limit.expired():
                raise
            if self._stopped:
                raise DrainingError(
                    "the service stopped before the answer was there", retry_after_s=0
                ) from error
            raise DeadlineError(
                f"the answer was not there within {within_s * 1e3:g} ms", retry_after_s=retry_after_s()
            ) from error

    async def drain(self, within_s: float) -> bool:
        """Take no new requests and wait for those in flight; return whether all were answered in time."""
        self.phase = Phase.DRAINING
        try:
            await asyncio.wait_for(self._idle.wait(), within_s)
        except TimeoutError:
            return False
        return not self._stopped

    async def stop(self) -> None:
        """Take no new requests and end those in flight at once, each with DrainingError."""
        self.phase = Phase.DRAINING
        self._stopped = True
        for limit in self._limits:
            limit.reschedule(asyncio.get_running_loop().time())
        await self._idle.wait()
