"""What is compared between paths: one number a block, and the words for more and less of it.

Pure; knows neither rounds nor statistics.
"""

from collections.abc import Callable
from dataclasses import dataclass

from loadgen.kernel import TICK_S
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


@dataclass(frozen=True, slots=True)
class Rate:
    """Something counted in a block, over how much of something else there was.

    Such counts may be 0, so that their differences to host networking are compared, and not their ratios.
    """

    name: str
    title: str
    unit: str
    counted: Callable[[Observation], float | None]
    """None where it was not measured."""
    among: Callable[[Observation], float | None]
    """What it is counted among: the value of a block is `counted` / `among`."""
    quantum: float
    """The least that can be counted."""
    yardstick: Callable[[Observation], float | None]
    """What a share of does not matter, of host networking's blocks."""
    more: str
    less: str

    def of(self, observation: Observation) -> float | None:
        """Return the value of a block; None where it was not measured."""
        counted, among = self.counted(observation), self.among(observation)
        return counted / among if counted is not None and among else None


def _both_ends(observation: Observation) -> float | None:
    client, server = CLIENT_CPU.of(observation), SERVER_CPU.of(observation)
    return client + server if client is not None and server is not None else None


SOFTIRQ = Rate(
    name="softirq_s_per_megabase",
    title="Kernel softirq CPU",
    unit="s/megabase",
    counted=lambda o: o.softirq_s,
    among=lambda o: o.total.bases / 1e6,
    quantum=TICK_S,
    yardstick=_both_ends,
    more="dearer",
    less="cheaper",
)
RETRANSMITS = Rate(
    name="retransmits_percent",
    title="TCP segments sent again",
    unit="%",
    counted=lambda o: None if o.retransmits is None else 100.0 * o.retransmits,
    among=lambda o: o.segments,
    quantum=100.0,
    yardstick=lambda _: 100.0,
    more="more",
    less="fewer",
)
RATES = (SOFTIRQ, RETRANSMITS)
