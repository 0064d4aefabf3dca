"""Facts come from the system, and sources that disagree are shown."""

import os
from importlib.metadata import version
from pathlib import Path

from loadgen.facts import Fact, conflicts, machine_facts, program_facts, version_facts


def a_system(root: Path, files: dict[str, str]) -> Path:
    """A folder that looks like / as far as /proc and /sys go."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_the_machine_is_described_by_what_its_files_say(tmp_path: Path) -> None:
    root = a_system(
        tmp_path,
        {
            "proc/cpuinfo": "processor\t: 0\nmodel name\t: Abacus 9\nflags\t\t: fpu hypervisor\n\n"
            "processor\t: 1\nmodel name\t: Other\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
            "sys/fs/cgroup/cpu.max": "150000 100000\n",
        },
    )
    facts = {fact.name: fact for fact in machine_facts(root)}
    assert facts["CPU"] == Fact("CPU", "Abacus 9", "/proc/cpuinfo")
    assert facts["virtual machine"].confidence == "inferred"
    assert facts["CPU frequency governor"].value == "powersave"
    assert facts["CPU limit of the container (quota, period)"].value == "150000 100000"


def test_what_the_system_does_not_tell_is_absent(tmp_path: Path) -> None:
    names = {fact.name for fact in machine_facts(tmp_path)}
    assert "CPU" not in names
    assert "CPU frequency governor" not in names


def test_this_machine_says_how_many_cores_may_be_used() -> None:
    facts = {fact.name: fact.value for fact in machine_facts()}
    assert facts["cores usable"] == str(len(os.sched_getaffinity(0)))


def test_programs_are_named_with_the_versions_that_are_installed() -> None:
    facts = {fact.name: fact.value for fact in program_facts()}
    assert facts["locust version"] == version("locust")


def test_a_program_that_is_not_installed_has_no_version() -> None:
    facts = version_facts(("no-such-distribution", "numpy"))
    assert [(fact.name, fact.value) for fact in facts] == [("numpy version", version("numpy"))]


def test_sources_that_disagree_are_a_conflict_and_nobody_is_right() -> None:
    link, route = Fact("MTU", "1500", "link", path="vxlan"), Fact("MTU", "1450", "route", path="vxlan")
    other = Fact("MTU", "9000", "link", path="host")
    assert [conflict.facts for conflict in conflicts((link, other, route))] == [(link, route)]


def test_sources_that_agree_are_no_conflict() -> None:
    assert conflicts((Fact("MTU", "1500", "link"), Fact("MTU", "1500", "route"))) == ()
