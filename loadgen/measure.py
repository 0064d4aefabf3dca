"""What is compared between paths: one number a block, and the words for more and less of it.

Pure; knows neither rounds nor statistics.
"""

from collections.abc import Callable
from dataclasses import dataclass

from loadgen.observation import Observation


@dataclass(frozen=True, slots=True)
class Measure:
    """One number a block that is compared between paths."""

    name: str
    """As in files and in column names; with its unit."""
    title: str
    unit: str
    of: Callable[[Observation], float | None]
    """The value of a block; None where it was not measured."""
    more: str
    """The word for a path with more of it than host networking."""
    less: str


def _per_megabase(cpu_s: float | None, observation: Observation) -> float | None:
    bases = observation.total.bases
    return cpu_s * 1e6 / bases if cpu_s is not None and bases else None


BASES = Measure("bases_per_s", "Bases per second", "bases/s", lambda o: o.bases_per_s, "faster", "slower")
"""The measure that decides when a run has ended."""

P50 = Measure("p50_ms", "Median latency", "ms", lambda o: o.p50_ms, "slower", "faster")
P99 = Measure("p99_ms", "99th percentile of latency", "ms", lambda o: o.p99_ms, "slower", "faster")
CLIENT_CPU = Measure(
    "client_cpu_s_per_megabase",
    "Client CPU",
    "s/megabase",
    lambda o: _per_megabase(o.client_cpu_s, o),
    "dearer",
    "cheaper",
)
SERVER_CPU = Measure(
    "server_cpu_s_per_megabase",
    "Server CPU",
    "s/megabase",
    lambda o: _per_megabase(o.server_cpu_s, o),
    "dearer",
    "cheaper",
)
MEASURES = (BASES, P50, P99, CLIENT_CPU, SERVER_CPU)
