"""What this machine's kernel has counted: CPU seconds in softirqs, where packets go, and TCP segments.

Softirqs are those of the whole machine, because the kernel does not say for whom it works in them. TCP is
that of the namespaces that are named, so that in a lab both ends of a path are counted and nobody else.
"""

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path as File
from typing import Self, TypeVar

import psutil

from loadgen.netns import entered

Number = TypeVar("Number", int, float)

TICK_S = 0.01
"""What CPU time is counted in, as the kernel says it to programs (USER_HZ)."""
_SNMP = File("/proc/thread-self/net/snmp")
"""Of the namespace that the thread is in when it is opened."""


@dataclass(frozen=True, slots=True)
class KernelCounters:
    """Counters of this machine since it started; None where the system does not tell."""

    softirq_s: float | None
    segments: int | None
    """TCP segments sent, without those sent again."""
    retransmits: int | None
    """TCP segments sent again."""

    def since(self, earlier: Self) -> Self:
        """Return what was counted since `earlier`."""
        return type(self)(
            softirq_s=_less(self.softirq_s, earlier.softirq_s),
            segments=_less(self.segments, earlier.segments),
            retransmits=_less(self.retransmits, earlier.retransmits),
        )


def _less(now: Number | None, earlier: Number | None) -> Number | None:
    # Ticks, of which a difference of doubles would make 0.029999.
    return None if now is None or earlier is None else round(now - earlier, 6)


def kernel_counters(namespaces: Iterable[str | None]) -> KernelCounters:
    """Read the counters: TCP's of `namespaces` together, each a file, or None for one's own.

    Never yields to another greenlet while the thread is away.
    """
    softirq_s = getattr(psutil.cpu_times(), "softirq", None)  # only Linux tells
    try:
        counts = [tcp_counts(_snmp(namespace)) for namespace in namespaces]
    except (OSError, ValueError):
        return KernelCounters(softirq_s, None, None)
    return KernelCounters(softirq_s, sum(sent for sent, _ in counts), sum(again for _, again in counts))


def _snmp(namespace: str | None) -> str:
    with entered(namespace) if namespace else nullcontext():
        return _SNMP.read_text(encoding="ascii")


def tcp_counts(snmp: str) -> tuple[int, int]:
    """Return the segments sent, and sent again, of a /proc/net/snmp. Raises ValueError where it has none."""
    lines = [line.split() for line in snmp.splitlines() if line.startswith("Tcp: ")]
    if len(lines) != 2:
        raise ValueError("no counters of TCP")
    named = dict(zip(*lines, strict=False))
    if not {"OutSegs", "RetransSegs"} <= set(named):
        raise ValueError("no counters of TCP segments")
    return int(named["OutSegs"]), int(named["RetransSegs"])
