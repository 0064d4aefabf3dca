"""Twenty times more work than a replica can do: it goes on doing what it can, and refuses the rest at once.

Requests come open-loop, at a fixed rate, each on a connection of its own and with `Expect: 100-continue`, as
curl sends long bodies: a refusal needs nothing but the head. Beside them, a trickle of short reads of high
priority. Loopback only; what is in flight is bounded.
"""

import asyncio
import math
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Finding
from benchmarks.paced import PacedCaller
from benchmarks.replica import Replica

BATCH_S = 0.25
READ_SAMPLES, URGENT_SAMPLES = 100_000, 4_000
TIMES = 20
"""Offered work over what the replica can do."""
SETTINGS: dict[str, Any] = {"max_read_samples": 1_000_000, "max_signal_mib": 64, "max_backlog_s": 20.0}
MOST_OPEN = 4000
"""The most requests in flight; those that would be more are counted as held back."""
OVERHEAD_BYTES = 64 * 2**20
"""What the process may grow by besides the memory for signal: connections, and a batch being called."""
CALM_CLIENTS = 16
"""So many clients, each sending when it is answered, show what the replica can do."""
URGENT_EVERY_S = 0.2
REFUSED_P99_MS, GOODPUT, URGENT_TIMES = 50.0, 0.9, 2.0
"""What is promised."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A request that has ended: when, with which status, after how long, and whether it may come again."""

    at_s: float
    status: int
    seconds: float
    retry_after: bool


@dataclass(slots=True)
class Flooded:
    """All that ended during a flood."""

    ended: list[Ended] = field(default_factory=list)
    urgent: list[Ended] = field(default_factory=list)
    held_back: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    """Requests without an answer, by what went wrong."""
    rss_bytes: int = 0
    """The most that was resident."""


def flood(folder: Path, seconds: float) -> list[Finding]:
    """Flood one paced replica for `seconds`, after a calm quarter of that."""
    with Replica(folder / "flooded.log", batch_s=BATCH_S, **SETTINGS) as replica:
        return asyncio.run(_flood(replica, seconds))


async def _flood(replica: Replica, seconds: float) -> list[Finding]:
    port = int(replica.url.rpartition(":")[2])
    calm_bytes = replica.rss_bytes
    unloaded = [await _request(port, URGENT_SAMPLES, "high") for _ in range(10)]
    capacity = await _calm(port, seconds / 4)
    before = await asyncio.to_thread(replica.metric, "fiveways_samples_total")
    flooded = Flooded(rss_bytes=calm_bytes)
    began_s = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        rate = TIMES * PacedCaller(BATCH_S).samples_per_s / READ_SAMPLES
        pressing = tasks.create_task(_press(port, rate, seconds, flooded))
        tasks.create_task(_hurry(port, pressing, flooded))
        tasks.create_task(_watch(replica, pressing, flooded))
    counted = await asyncio.to_thread(replica.metric, "fiveways_samples_total") - before
    return _judge(flooded, counted, unloaded, capacity, began_s, seconds, flooded.rss_bytes - calm_bytes)


def _judge(
    flooded: Flooded,
    counted: int,
    unloaded: list[Ended],
    capacity: float,
    began_s: float,
    seconds: float,
    grown_bytes: int,
) -> list[Finding]:
    called = [one for one in flooded.ended if one.status == 200]
    refused = [one for one in flooded.ended if one.status != 200]
    # What was admitted before the end is called after it: the replica was as busy then as it was before.
    within = [one for one in called if one.at_s <= began_s + seconds]
    goodput = len(within) * READ_SAMPLES / seconds
    answered = len(called) * READ_SAMPLES + len(flooded.urgent) * URGENT_SAMPLES
    bound = SETTINGS["max_signal_mib"] * 2**20 + OVERHEAD_BYTES
    named = sum(one.status == 503 and one.retry_after for one in refused)
    refused_ms = _percentile([one.seconds * 1e3 for one in refused], 99)
    calm_s = _percentile([one.seconds for one in unloaded], 50)
    urgent_s = _percentile([one.seconds for one in flooded.urgent], 50)
    return [
        Finding("requests", len(flooded.ended)),
        Finding("held back by the generator itself", flooded.held_back),
        Finding("called", len(called)),
        Finding("refused", len(refused)),
        Finding("refused with 503 and when to come again", named, "all", named == len(refused)),
        Finding("without an answer", flooded.broken.total(), "0", not flooded.broken),
        *(Finding("what went wrong", f"{count} x {what}") for what, count in flooded.broken.most_common(3)),
        Finding("samples counted by the server", counted, f"{answered:,}", counted == answered),
        Finding("memory grown, MiB", grown_bytes / 2**20, f"<= {bound / 2**20:g}", grown_bytes <= bound),
        Finding("capacity, samples/s", capacity),
        Finding("goodput, samples/s", goodput, f">= {GOODPUT:g} x capacity", goodput >= GOODPUT * capacity),
        Finding("refused within, p99, ms", refused_ms, f"< {REFUSED_P99_MS:g}", refused_ms < REFUSED_P99_MS),
        Finding("high priority unloaded, median, s", calm_s),
        Finding(
            "high priority in the flood, median, s",
            urgent_s,
            f"<= {URGENT_TIMES:g} x unloaded",
            urgent_s <= URGENT_TIMES * calm_s,
        ),
    ]


async def _press(port: int, rate: float, seconds: float, flooded: Flooded) -> None:
    """Send `rate` requests a second for `seconds`, whatever becomes of them; return when all have ended."""
    open_ = 0

    async def send() -> None:
        nonlocal open_
        try:
            flooded.ended.append(await _request(port, READ_SAMPLES, "normal"))
        except (OSError, EOFError) as error:
            flooded.broken[repr(error)] += 1
        finally:
            open_ -= 1

    async with asyncio.TaskGroup() as tasks:
        began_s = time.monotonic()
        for number in range(math.floor(rate * seconds)):
            await asyncio.sleep(max(0.0, began_s + number / rate - time.monotonic()))
            if time.monotonic() > began_s + seconds:
                flooded.held_back = math.floor(rate * seconds) - number
                return
            if open_ < MOST_OPEN:
                open_ += 1
                tasks.create_task(send())
            else:
                flooded.held_back += 1


async def _hurry(port: int, pressing: "asyncio.Task[None]", flooded: Flooded) -> None:
    """Send short reads of high priority, one after another, while the flood goes on."""
    while not pressing.done():
        one = await _request(port, URGENT_SAMPLES, "high")
        if one.status == 200:
            flooded.urgent.append(one)
        else:
            flooded.broken[f"high priority was answered {one.status}"] += 1
        await asyncio.sleep(URGENT_EVERY_S)


async def _watch(replica: Replica, pressing: "asyncio.Task[None]", flooded: Flooded) -> None:
    while not pressing.done():
        flooded.rss_bytes = max(flooded.rss_bytes, replica.rss_bytes)
        await asyncio.wait([pressing], timeout=0.1)


async def _calm(port: int, seconds: float) -> float:
    """Return how many samples a second the replica calls for clients that wait for their answers."""
    began_s = time.monotonic()
    ended: list[Ended] = []

    async def one_client() -> None:
        while time.monotonic() < began_s + seconds:
            ended.append(await _request(port, READ_SAMPLES, "normal"))

    await asyncio.gather(*(one_client() for _ in range(CALM_CLIENTS)))
    called = sum(one.status == 200 for one in ended)
    return called * READ_SAMPLES / (max(one.at_s for one in ended) - began_s)


async def _request(port: int, samples: int, priority: str) -> Ended:
    """Send the head, the body if that is asked for, and return how it ended."""
    began_s = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(
            f"POST /v1/basecall HTTP/1.1\r\nHost: soak\r\nContent-Type: application/octet-stream\r\n"
            f"Content-Length: {2 * samples}\r\nX-Priority: {priority}\r\nConnection: close\r\n"
            "Expect: 100-continue\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        if _status(head) == 100:
            writer.write(_SIGNAL[: 2 * samples])
            head = await reader.readuntil(b"\r\n\r\n")
        seconds = time.monotonic() - began_s
        await reader.read()
        return Ended(time.monotonic(), _status(head), seconds, b"\r\nretry-after: " in head.lower())
    finally:
        writer.close()


def _status(head: bytes) -> int:
    return int(head.split(maxsplit=2)[1])


def _percentile(values: list[float], percent: float) -> float:
    return float(np.percentile(values, percent)) if values else math.nan


_SIGNAL = np.random.default_rng(1).integers(-500, 1500, READ_SAMPLES).astype("<i2").tobytes()
