"""How many cores this process may use: those it may run on, but no more than its cgroups give it time for.

A Kubernetes limit is such an allowance: more threads than it pays for are stopped, all of them at once, for
most of every 100 ms.
"""

import math
from collections.abc import Iterator
from os import cpu_count
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Return the number of cores that this process may use, at least 1."""
    try:
        from os import sched_getaffinity  # noqa: PLC0415 - Linux only
    except ImportError:
        return cpu_count() or 1
    try:
        membership = MEMBERSHIP.read_text()
    except OSError:
        membership = ""
    return max(1, min(len(sched_getaffinity(0)), math.ceil(min(quota_cores(CGROUPS, membership), 2**20))))


def quota_cores(cgroups: Path, membership: str) -> float:
    """Return how many cores' time the cgroups of a process allow it, infinite where none limits it.

    `membership` is /proc/PID/cgroup. A group is bound by what holds it, so the least of all is what counts;
    where a container sees only its own group, that is mounted as the root. Source: cgroups(7).
    """
    return min(_quotas(cgroups, membership), default=math.inf)


def _quotas(cgroups: Path, membership: str) -> Iterator[float]:
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        names = (controllers, "cpu") if controllers else ("", "unified")
        inside = Path(path.lstrip("/"))
        for root in (cgroups / name for name in names):
            for group in (inside, *inside.parents):
                yield from _quota(root / group)


def _quota(group: Path) -> Iterator[float]:
    """Yield the allowance of one group, in the words of version 2 (cpu.max) or of version 1."""
    try:
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text().split()
        elif (group / "cpu.cfs_quota_us").is_file():
            quota = (group / "cpu.cfs_quota_us").read_text().strip()
            period = (group / "cpu.cfs_period_us").read_text()
        else:
            return
    except OSError:  # a group that has gone, or is nobody's business
        return
    if quota not in {"max", "-1"}:
        yield int(quota) / int(period)
