"""Facts of the machine and the programs of a run: each read from the system, with its source.

Nothing here is taken from what a user typed. A fact the system does not tell is absent, not guessed.
"""

import importlib.metadata
import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path as File
from typing import Literal

import psutil

Confidence = Literal["read", "inferred"]
"""`read` from where the system says it; `inferred` from something that usually goes with it."""

PROGRAMS = ("fiveways", "locust", "geventhttpclient", "numpy", "scipy")
"""Distributions whose versions may change a result."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that holds for a whole run, or for one path of it."""

    name: str
    value: str
    """With its unit."""
    source: str
    """Where it was read."""
    confidence: Confidence = "read"
    path: str | None = None
    """Name of the path it holds for; None where it holds for all."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Facts of one name and one path whose sources disagree."""

    facts: tuple[Fact, ...]


def conflicts(facts: Iterable[Fact]) -> tuple[Conflict, ...]:
    """Return what the sources disagree on; which of them is right is not for this program to say."""

    def subject(fact: Fact) -> tuple[str, str]:
        return fact.path or "", fact.name

    groups = (tuple(group) for _, group in groupby(sorted(facts, key=subject), key=subject))
    return tuple(Conflict(group) for group in groups if len({fact.value for fact in group}) > 1)


def machine_facts(root: File = File("/")) -> tuple[Fact, ...]:
    """Return what the system says of the machine that this runs on; `root` is where /proc and /sys are."""
    return tuple(_machine(root))


def _machine(root: File) -> Iterator[Fact]:
    yield Fact("operating system", platform.platform(), "uname")
    cpu = _cpuinfo(root)
    if "model name" in cpu:
        yield Fact("CPU", cpu["model name"], "/proc/cpuinfo")
    if "hypervisor" in cpu.get("flags", "").split():
        yield Fact("virtual machine", "yes", "/proc/cpuinfo, flag hypervisor", "inferred")
    if hasattr(os, "sched_getaffinity"):
        yield Fact("cores usable", str(len(os.sched_getaffinity(0))), "sched_getaffinity")
    yield Fact("cores of the machine", str(os.cpu_count()), "sysconf")
    yield Fact("memory", f"{psutil.virtual_memory().total / 2**30:.1f} GiB", "psutil")
    for name, place in (
        ("CPU limit of the container (quota, period)", "sys/fs/cgroup/cpu.max"),
        ("memory limit of the container, bytes", "sys/fs/cgroup/memory.max"),
        ("CPU frequency governor", "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        ("clock source", "sys/devices/system/clocksource/clocksource0/current_clocksource"),
        ("TCP congestion control", "proc/sys/net/ipv4/tcp_congestion_control"),
    ):
        value = _text(root / place)
        if value:
            yield Fact(name, value, f"/{place}")


def _cpuinfo(root: File) -> dict[str, str]:
    """Return what /proc/cpuinfo says of the first core; nothing where there is none."""
    lines = _text(root / "proc/cpuinfo").split("\n\n")[0].splitlines()
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _text(file: File) -> str:
    """Return what a file of the system says; nothing where it has no such file or hides it."""
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def program_facts() -> tuple[Fact, ...]:
    """Return the versions of the programs on the client's side."""
    python = Fact("Python", platform.python_version(), "sys.version")
    return (python, *version_facts(PROGRAMS))


def version_facts(names: Iterable[str]) -> Iterator[Fact]:
    """Yield the versions of distributions, of those that are installed: who sends judges nothing, and in the
    load generator's image has no scipy."""
    for name in names:
        try:
            yield Fact(f"{name} version", importlib.metadata.version(name), "package metadata")
        except importlib.metadata.PackageNotFoundError:
            continue
