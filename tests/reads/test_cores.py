"""How many cores there are to use, under the cgroups that containers are put in."""

import math
import os
from pathlib import Path

import pytest

from reads import cores
from reads.cores import quota_cores, usable_cores


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")


def test_a_limit_of_version_2_is_its_quota_over_its_period(tmp_path: Path) -> None:
    write(tmp_path / "kubepods/pod1", cpu__max="150000 100000")
    assert quota_cores(tmp_path, "0::/kubepods/pod1\n") == 1.5


def test_the_tightest_group_on_the_way_up_counts(tmp_path: Path) -> None:
    write(tmp_path / "kubepods", cpu__max="400000 100000")
    write(tmp_path / "kubepods/pod1", cpu__max="200000 100000")
    write(tmp_path / "kubepods/pod1/container", cpu__max="max 100000")
    assert quota_cores(tmp_path, "0::/kubepods/pod1/container\n") == 2


def test_a_container_that_sees_only_its_own_group_finds_it_as_the_root(tmp_path: Path) -> None:
    write(tmp_path, cpu__max="300000 100000")
    assert quota_cores(tmp_path, "0::/../../kubepods/elsewhere\n") == 3
    assert quota_cores(tmp_path, "0::/\n") == 3


def test_a_limit_of_version_1_is_read_too(tmp_path: Path) -> None:
    write(tmp_path / "cpu,cpuacct/docker/1", cpu__cfs_quota_us="50000", cpu__cfs_period_us="100000")
    assert quota_cores(tmp_path, "5:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n0::/system\n") == 0.5
    write(tmp_path / "cpu/docker/2", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    assert quota_cores(tmp_path, "4:cpu:/docker/2\n") == math.inf


def test_without_a_limit_there_is_none(tmp_path: Path) -> None:
    write(tmp_path, cpu__max="max 100000")
    assert quota_cores(tmp_path, "0::/\n") == quota_cores(tmp_path, "") == math.inf


@pytest.mark.parametrize(("quota", "expected"), [("10000 100000", 1), ("max 100000", None)])
def test_there_is_always_one_core_and_never_more_than_the_process_may_run_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, expected: int | None
) -> None:
    write(tmp_path, cpu__max=quota, membership="0::/")
    monkeypatch.setattr(cores, "CGROUPS", tmp_path)
    monkeypatch.setattr(cores, "MEMBERSHIP", tmp_path / "membership")
    assert usable_cores() == (expected or len(os.sched_getaffinity(0)))
