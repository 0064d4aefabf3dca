"""A client that costs as little as it can: requests ready-made, keep-alive, in a process of its own.

Closed loop: so many connections, each sending its next request when its last is answered. Open loop: requests
at random intended times of a given rate, and latency counted from those. Knows servers by their URLs only.
"""

import itertools
import random
import re
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import reduce
from multiprocessing import get_context

SERVER_TIMING = re.compile(r"(\w+);dur=([0-9.]+)")
TIMEOUT_S = 120.0
OPEN_CONNECTIONS = 256


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Where it `counts`, its answer's bases are those of the JSON's string at `sequence_at`."""

    body: bytes
    path: str = "/v1/basecall"
    content_type: str = "application/octet-stream"
    counts: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)
    """More of them."""
    sequence_at: tuple[str | int, ...] = ("sequence",)


@dataclass(frozen=True, slots=True)
class Load:
    """What to send: `requests` in turn, to `urls` in turn. With `rate` [1/s] an open loop, else a closed one
    of `connections`; until `seconds` are over or `count` requests are sent."""

    urls: tuple[str, ...]
    requests: tuple[Request, ...]
    connections: int = 1
    seconds: float = 1.0
    count: int | None = None
    rate: float | None = None


@dataclass(slots=True)
class Answers:
    """What came back, `wall_s` after the first request was sent. `server_ms` is what Server-Timing said of
    the network and decoding, one for each of `latency_ms`, where it said anything."""

    wall_s: float = 0.0
    requests: int = 0
    request_bytes: int = 0
    bases: int = 0
    failures: int = 0
    failure: str = ""
    latency_ms: list[float] = field(default_factory=list)
    server_ms: list[float] = field(default_factory=list)

    @property
    def bases_per_s(self) -> float:
        """Bases answered in a second."""
        return self.bases / self.wall_s

    @property
    def requests_per_s(self) -> float:
        """Requests answered in a second."""
        return self.requests / self.wall_s

    @property
    def bytes_per_s(self) -> float:
        """Bytes of answered requests in a second."""
        return self.request_bytes / self.wall_s


class Hammer:
    """The client's process, inside this context manager."""

    def __enter__(self) -> "Hammer":
        self._pool = ProcessPoolExecutor(1, get_context("spawn"))
        return self

    def __exit__(self, *raised: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def send(self, load: Load) -> Answers:
        """Send, and return what came back. Raises RuntimeError where not one request was answered."""
        answers = self._pool.submit(_send, load).result()
        if not answers.requests:
            raise RuntimeError(f"none of {answers.failures} requests was answered: {answers.failure}")
        return answers


def _send(load: Load) -> Answers:
    import gevent  # noqa: PLC0415 - in the client's process only
    import orjson  # noqa: PLC0415
    from geventhttpclient import HTTPClient  # noqa: PLC0415
    from geventhttpclient.url import URL  # noqa: PLC0415

    connections = OPEN_CONNECTIONS if load.rate else load.connections
    clients = [
        HTTPClient.from_url(
            URL(url), concurrency=connections, connection_timeout=TIMEOUT_S, network_timeout=TIMEOUT_S
        )
        for url in load.urls
    ]
    answers = Answers()
    serial = itertools.count()
    began_s = time.perf_counter()
    ends_s = began_s + load.seconds

    def one(number: int, intended_s: float) -> None:
        request = load.requests[number % len(load.requests)]
        client = clients[number % len(clients)]
        headers = {"Content-Type": request.content_type, **request.headers}
        try:
            response = client.post(request.path, body=request.body, headers=headers)
            content = response.read()
            bases = _bases(response.status_code, content, request)
        except (OSError, LookupError, orjson.JSONDecodeError) as error:
            answers.failures += 1
            answers.failure = repr(error)
            return
        answers.latency_ms.append((time.perf_counter() - intended_s) * 1e3)
        said = dict(SERVER_TIMING.findall(str(response.get("server-timing", ""))))
        if said:
            answers.server_ms.append(float(said["compute"]) + float(said["decode"]))
        answers.requests += 1
        answers.request_bytes += len(request.body)
        answers.bases += bases

    def user() -> None:
        while time.perf_counter() < ends_s or load.count is not None:
            number = next(serial)
            if load.count is not None and number >= load.count:
                return
            one(number, time.perf_counter())

    if load.rate:
        rng, intended_s, sent = random.Random(1), began_s, []
        while (intended_s := intended_s + rng.expovariate(load.rate)) < ends_s:
            gevent.sleep(max(0.0, intended_s - time.perf_counter()))
            sent.append(gevent.spawn(one, next(serial), intended_s))
    else:
        sent = [gevent.spawn(user) for _ in range(load.connections)]
    gevent.joinall(sent, raise_error=True)
    answers.wall_s = time.perf_counter() - began_s
    for client in clients:
        client.close()
    return answers


def _bases(status: int, content: bytes, of: Request) -> int:
    import orjson  # noqa: PLC0415 - in the client's process only

    if status != 200:
        raise OSError(f"{status} {content[:300]!r}")
    if not of.counts:
        return 0
    return len(reduce(lambda found, key: found[key], of.sequence_at, orjson.loads(content)))
