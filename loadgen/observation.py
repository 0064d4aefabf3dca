"""An observation: what was measured in one block, and the reasons, if any, why it does not count.

Observations are kept as JSON lines, one a block, appended whole. Pure but for reading and appending them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path as File
from typing import Any, Self

import orjson

from loadgen.plan import Arm
from loadgen.tally import Tally
from loadgen.window import Window

BUSY_CORE = 0.9
"""Above this share of a core a process counts as saturated."""
MOST_GC, MOST_GC_S = 0.02, 0.02
"""The garbage collector may hold a process for this share of the window, or for this long if that is more."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One block, measured. `window` counts the requests that ended inside the measured window; `total` all
    of the block, which is what must agree with the server."""

    round: int
    position: int
    """Place of the block within its round, from 0."""
    path: str
    """Name of the path."""
    arm: Arm
    users: int
    started_s: float
    """When the users were released, in seconds since 1970."""
    window_s: float
    """Length of the measured window."""
    elapsed_s: float
    """From the release of the users to the last answer."""
    spread_bases: float
    """Bases of the window when each request's bases are spread evenly over its time in flight: the same
    mean as counting whole requests where they end, without the noise of cutting them at the edges."""
    spread_samples: float
    """Samples of the window, spread likewise."""
    window: Tally
    total: Tally
    client_cpu_s: float
    """CPU seconds of the load generator over the block, all of its processes and their children."""
    busiest_client: float
    """Share of a core that the busiest process of the load generator used in the window."""
    server_cpu_s: float | None
    """CPU seconds of the server over the block; None where it does not say."""
    server_bases: int | None
    """Bases the server says it called in the block; None where it does not say."""
    voids: tuple[str, ...] = ()
    """Reasons why this block does not count; empty when it does."""
    arrival_rate: float | None = None
    """Reads/s that were to be sent; None in a closed loop."""
    gc_pause_s: float = 0.0
    """How long the garbage collector held a process of the load generator in the window, at most."""
    skew_s: float = 0.0
    """How far apart its processes can have begun, by the clock of the one that directs them."""
    windows: tuple[Window, ...] = ()
    """The pieces of the window, where the plan cuts it into several."""
    softirq_s: float | None = None
    """CPU seconds that the client's machine spent in softirqs over the block, for whomever; None where that
    is not known. Where the kernel accounts by ticks, they are also among those of client and server."""
    segments: int | None = None
    """TCP segments sent in the block in the namespaces of the path's ends that are known."""
    retransmits: int | None = None
    """TCP segments sent again, likewise."""

    @property
    def bases_per_s(self) -> float:
        """The result of the block."""
        return self.spread_bases / self.window_s

    @property
    def samples_per_s(self) -> float:
        """The result of the block in samples, whose number no model influences."""
        return self.spread_samples / self.window_s

    @property
    def client_is_saturated(self) -> bool:
        """Whether a process of the load generator had no time to spare while the server had some."""
        busy_s, elapsed_s = self.server_cpu_s, self.elapsed_s
        server_is_busy = busy_s is not None and elapsed_s > 0 and busy_s / elapsed_s > BUSY_CORE
        return self.busiest_client > BUSY_CORE and not server_is_busy

    @property
    def p50_ms(self) -> float | None:
        """Median latency in the window; None without answers."""
        return self.window.latency.quantile_ms(0.5)

    @property
    def p99_ms(self) -> float | None:
        """99th percentile of the latency in the window; None without answers."""
        return self.window.latency.quantile_ms(0.99)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote, once parsed."""
        known = {name: plain[name] for name in cls.__dataclass_fields__ if name in plain}
        return cls(
            **{
                **known,
                "window": Tally.from_plain(plain["window"]),
                "total": Tally.from_plain(plain["total"]),
                "voids": tuple(plain["voids"]),
                "windows": tuple(Window.from_plain(window) for window in plain.get("windows", ())),
            }
        )

    def to_json(self) -> bytes:
        """Return one JSON line: the fields, and the results computed from them for other readers."""
        results = {name: getattr(self, name) for name in ("bases_per_s", "samples_per_s", "p50_ms", "p99_ms")}
        options = orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE
        return orjson.dumps({**asdict(self), **results}, option=options)


def client_limit(tally: Tally, most_lag_ms: float) -> str:
    """Say why the client and not the service was measured in an open loop; nothing where the service was."""
    if tally.unstarted:
        return f"client-limited: {tally.unstarted} requests were due and not started; add workers"
    lag_ms = tally.lag.quantile_ms(0.99) or 0.0
    if lag_ms > most_lag_ms:
        return (
            f"client-limited: 1 % of the requests started {lag_ms:,.1f} ms late or later, of which"
            f" {most_lag_ms:g} ms are allowed; add workers"
        )
    return ""


def gated(observation: Observation, *, most_lag_ms: float, most_skew_s: float) -> Observation:
    """Return `observation` with a reason added to its voids for every gate that it fails."""
    total = observation.total
    reasons = list(observation.voids)
    if total.failures:
        reason, times = max(total.reasons.items(), key=lambda item: item[1])
        reasons.append(f"{total.failures} of {total.requests} requests failed; {times} times: {reason}")
    if not observation.spread_samples:
        reasons.append("no request of the window was answered")
    if observation.server_bases is None:
        reasons.append("the server does not count its bases, so that they cannot be compared")
    elif observation.server_bases != total.bases:
        reasons.append(
            f"the server called {observation.server_bases} bases, the clients received {total.bases}"
        )
    if observation.client_is_saturated:
        reasons.append(
            f"the load generator was saturated: a process used {observation.busiest_client:.0%} of a core,"
            " while the server had time to spare"
        )
    most_gc_s = max(MOST_GC_S, MOST_GC * observation.window_s)
    if observation.gc_pause_s > most_gc_s:
        pause_ms, most_ms = observation.gc_pause_s * 1e3, most_gc_s * 1e3
        reasons.append(
            f"the garbage collector held a process of the load generator for {pause_ms:.0f} ms, of which"
            f" {most_ms:.0f} ms are allowed"
        )
    if observation.skew_s > most_skew_s:
        reasons.append(
            f"the workers may have begun {observation.skew_s * 1e3:.0f} ms apart, of which"
            f" {most_skew_s * 1e3:.0f} ms are allowed"
        )
    if limit := client_limit(observation.window, most_lag_ms):
        reasons.append(limit)
    return replace(observation, voids=tuple(reasons))


def append_observation(observation: Observation, file: File) -> None:
    """Append one line in a single write, so that whoever reads the file sees whole lines."""
    with file.open("ab", buffering=0) as stream:
        stream.write(observation.to_json())


def read_observations(file: File) -> Iterator[Observation]:
    """Yield the observations of a file, in order. A last line that was cut off is left out."""
    with file.open("rb") as stream:
        for line in stream:
            if line.endswith(b"\n"):
                yield Observation.from_plain(orjson.loads(line))
