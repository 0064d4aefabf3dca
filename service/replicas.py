"""The replicas of one service: which of them a request goes to, and which are looked for again.

Requests are sent in the order of their numbers, each to the replica that has most room, and sent again until
they are answered: after a refusal when its replica takes requests again, or another one does. Lives in an
event loop; knows no HTTP: how to ask and how to probe is handed in.
"""

import asyncio
import heapq
import itertools
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from service.client_errors import LostError, NotCalledError, RefusedError, UnreachableError
from service.replica import Replica

MOST_LOSSES = 10
"""So many connections lost by one request, one after another, are its own doing."""

Answer = TypeVar("Answer")
Ask = Callable[[str], Awaitable[tuple[Answer, float]]]
"""Sends a request to the replica of that URL; returns its answer and how long it was queued, in seconds, or
raises RefusedError, LostError, or what there is no trying again after."""


class Replicas:
    """The replicas at `urls`. `probe` says whether one is ready; made in the event loop that it lives in."""

    def __init__(
        self, urls: Sequence[str], probe: Callable[[str], Awaitable[bool]], *, patience_s: float
    ) -> None:
        self._replicas = [Replica(url) for url in urls]
        self._probe = probe
        self._patience_s = patience_s
        self._waiting: list[tuple[int, int, asyncio.Future[Replica]]] = []
        # Numbers may be equal, and places cannot be compared.
        self._serial = itertools.count()
        self._probes: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._answered_s = self._loop.time()
        self._trouble = ""
        """What went wrong last."""
        self.refusals = 0
        self.losses = 0

    async def send(self, number: int, ask: Ask[Answer]) -> Answer:
        """Return what one of the replicas answers.

        Raises NotCalledError where every connection is lost, UnreachableError where no replica takes it for
        too long, and what else `ask` raises.
        """
        losses = 0
        began_s = self._loop.time()
        while True:
            replica = await self._place(number, began_s)
            sent_s = self._loop.time()
            try:
                answer, queue_s = await ask(replica.url)
            except RefusedError as refused:
                self.refusals += 1
                self._trouble = f"{replica.url}: {refused}"
                if refused.not_ready:
                    self._leave(replica)
                else:
                    replica.refused(
                        self._loop.time(),
                        sent_s=sent_s,
                        retry_after_s=refused.retry_after_s,
                        chance=random.random(),
                    )
            except LostError as lost:
                self._trouble = f"{replica.url}: {lost}"
                self._leave(replica)
                if lost.sent:
                    self.losses += 1
                    losses += 1
                if losses >= MOST_LOSSES:
                    raise NotCalledError(f"its connection was lost {losses} times; last, {lost}") from lost
            except BaseException:
                replica.ended()
                raise
            else:
                self._answered_s = self._loop.time()
                replica.answered(queue_s)
                return answer
            finally:
                self._hand_out()
            self._check_patience(began_s)

    async def close(self) -> None:
        """Look for lost replicas no longer."""
        if self._timer is not None:
            self._timer.cancel()
        for probe in self._probes:
            probe.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)

    async def _place(self, number: int, began_s: float) -> Replica:
        """Wait for a replica that takes a request, and count it as sent one."""
        while True:
            place: asyncio.Future[Replica] = self._loop.create_future()
            heapq.heappush(self._waiting, (number, next(self._serial), place))
            self._hand_out()
            try:
                async with asyncio.timeout(self._patience_s):
                    return await self._placed(place)
            except TimeoutError:
                self._check_patience(began_s)

    async def _placed(self, place: "asyncio.Future[Replica]") -> Replica:
        try:
            return await place
        except asyncio.CancelledError:
            if not place.cancelled():  # it was given in the moment in which it was no longer wanted
                place.result().ended()
                self._hand_out()
            raise

    def _check_patience(self, began_s: float) -> None:
        """Raise UnreachableError where nothing was answered for too long and nothing is in flight."""
        idle = all(replica.in_flight == 0 for replica in self._replicas)
        if idle and self._loop.time() - max(self._answered_s, began_s) >= self._patience_s:
            raise UnreachableError(
                f"nothing was answered for {self._patience_s:g} s; at last, {self._trouble}"
            )

    def _hand_out(self) -> None:
        """Give places to those who wait, as long as there are both; come back when there can be more."""
        now_s = self._loop.time()
        while self._waiting:
            place = self._waiting[0][2]
            if not place.done():
                takers = [replica for replica in self._replicas if replica.takes(now_s)]
                if not takers:
                    break
                replica = min(takers, key=lambda taker: taker.load)
                replica.sent()
                place.set_result(replica)
            heapq.heappop(self._waiting)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        opening = [one.closed_until_s for one in self._replicas if one.up and one.closed_until_s > now_s]
        if self._waiting and opening:
            self._timer = self._loop.call_at(min(opening), self._hand_out)

    def _leave(self, replica: Replica) -> None:
        if replica.up:
            probe = asyncio.create_task(self._look_for(replica))
            self._probes.add(probe)
            probe.add_done_callback(self._probes.discard)
        replica.lost()

    async def _look_for(self, replica: Replica) -> None:
        ready = False
        while not ready:
            await asyncio.sleep(replica.next_probe_s(random.random()))
            ready = await self._probe(replica.url)
        replica.found()
        self._hand_out()
