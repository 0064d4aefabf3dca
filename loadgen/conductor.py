"""Plays a plan: one block after the other on the crews of all processes, each becoming an observation.

For every block: read the server's counters over the path, have the crews work the block, and when all
requests have ended read the counters again. Knows neither locust nor where the crews are: messages are
handed to it and taken from it.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import gevent
from gevent.event import Event

from loadgen.client import BasecallClient
from loadgen.counters import ServerCounters
from loadgen.crew import Played
from loadgen.errors import CallError
from loadgen.observation import Observation, gated
from loadgen.paths import Path
from loadgen.plan import Block, Plan
from loadgen.shift import Assignment
from loadgen.tally import merged

SCRAPE_TIMEOUT_S = 5.0
"""How long connecting to the service, or waiting for its counters, may take."""
SCRAPE_AGAIN_S = 0.2
"""Where a path does not lead to the counters, it is tried again after so long, for as long as the block."""
REPORT_TIMEOUT_S = 15.0
"""How long after the last moment at which a request may end a crew may take to say how it went."""


def share_users(users: int, crews: Mapping[str, int]) -> dict[str, int]:
    """Spread `users` evenly over the crews, of which each has at most as many as `crews` says; crews left
    without any are absent."""
    shares = dict.fromkeys(crews, 0)
    for _ in range(min(users, sum(crews.values()))):
        least = min((crew for crew in crews if shares[crew] < crews[crew]), key=lambda crew: shares[crew])
        shares[least] += 1
    return {crew: share for crew, share in shares.items() if share}


class Conductor:
    """Plays the blocks of a plan. `crews` says how many users each process has that may dial a path, by the
    id that `send` takes with an order for that process; what comes back is given to `on_played`."""

    def __init__(
        self,
        plan: Plan,
        *,
        crews: Callable[[Path], Mapping[str, int]],
        send: Callable[[str, dict[str, Any]], None],
        own_cpu_counts: bool,
    ) -> None:
        self._plan = plan
        self._crews = crews
        self._send = send
        self._own_cpu_counts = own_cpu_counts
        """Whether this process is none of the crews', so that its CPU time comes on top of theirs."""
        self._order = 0
        self._waiting_for: set[str] = set()
        self._played: list[Played] = []
        self._all_played = Event()

    def observe(self, block: Block) -> Observation:
        """Play one block. Whatever goes wrong becomes a void observation."""
        plan, reasons = self._plan, list[str]()
        before = _counters(block.path, reasons, patience_s=plan.block_s)
        shares = share_users(plan.users[block.arm], self._crews(block.path)) if before else {}
        users = sum(shares.values())
        if before and users < plan.users[block.arm]:
            reasons.append(f"only {users} of {plan.users[block.arm]} users were there")
        cpu_before_s, started_s = time.process_time(), time.time()
        played = self._play(block, shares, reasons)
        own_cpu_s = time.process_time() - cpu_before_s if self._own_cpu_counts else 0.0
        after = _counters(block.path, reasons, patience_s=0.0) if played else None
        server = after.since(before) if after and before else None
        if after and before and after.started_s != before.started_s:
            reasons.append("the server was restarted during the block")
        observation = Observation(
            round=block.round,
            position=block.position,
            path=block.path.name,
            arm=block.arm,
            users=users,
            started_s=started_s,
            window_s=plan.window_s,
            elapsed_s=max((crew.elapsed_s for crew in played), default=0.0),
            spread_bases=sum(crew.spread_bases for crew in played),
            spread_samples=sum(crew.spread_samples for crew in played),
            window=merged(crew.window for crew in played),
            total=merged(crew.total for crew in played),
            client_cpu_s=own_cpu_s + sum(crew.cpu_s for crew in played),
            busiest_client=max((crew.busiest for crew in played), default=0.0),
            server_cpu_s=server.cpu_s if server else None,
            server_bases=server.bases if server else None,
            voids=tuple(reasons),
        )
        return gated(observation) if server else observation

    def on_played(self, crew: str, order: int, played: Played) -> None:
        """Take what a crew says of the order it was sent; what comes too late is ignored."""
        if order == self._order and crew in self._waiting_for:
            self._played.append(played)
            self._waiting_for.discard(crew)
            if not self._waiting_for:
                self._all_played.set()

    def _play(self, block: Block, shares: Mapping[str, int], reasons: list[str]) -> list[Played]:
        if not shares:
            return []
        plan = self._plan
        self._order += 1
        self._waiting_for, self._played = set(shares), []
        self._all_played.clear()
        for place, (crew, users) in enumerate(shares.items()):
            assignment = Assignment(
                name=f"{block.path.name}: {block.arm}",
                url=block.path.url,
                netns=block.path.netns,
                model="null" if block.arm == "null" else plan.model,
                connection=plan.connection,
                users=users,
                first_read=(block.first_read + place / len(shares)) % 1.0,
                settle_s=plan.settle_s,
                block_s=plan.block_s,
                drain_s=plan.drain_s,
            )
            self._send(crew, {"order": self._order, "assignment": asdict(assignment)})
        if not self._all_played.wait(plan.block_s + plan.drain_s + REPORT_TIMEOUT_S):
            reasons.append(f"{len(self._waiting_for)} of {len(shares)} processes did not say how it went")
        return self._played


def _counters(path: Path, reasons: list[str], *, patience_s: float) -> ServerCounters | None:
    """Read the server's counters over `path`, again and again for `patience_s` where that fails; where it
    fails to the end, add why to `reasons`. So a service that restarts does not cost all rounds at once."""
    give_up_s = time.monotonic() + patience_s
    while True:
        try:
            with BasecallClient(
                path.url,
                netns=path.netns,
                connect_timeout_s=SCRAPE_TIMEOUT_S,
                network_timeout_s=SCRAPE_TIMEOUT_S,
            ) as client:
                return ServerCounters.from_page(client.metrics())
        except (CallError, ValueError) as error:
            if time.monotonic() >= give_up_s:
                reasons.append(f"the server's counters cannot be read over this path: {error}")
                return None
        gevent.sleep(SCRAPE_AGAIN_S)
