"""Several runs side by side: what they have in common decides what may be compared, and nothing is pooled."""

from dataclasses import replace
from pathlib import Path

import pytest
from measured import a_run

from loadgen.bodies import ReadSource
from loadgen.facts import Fact
from loadgen.results import Run
from loadgen.together import labels, put_together


def with_plan(run: Run, **changes: object) -> Run:
    plan = replace(run.setup.plan, **changes)  # type: ignore[arg-type]  # any field
    return replace(run, setup=replace(run.setup, plan=plan))


RUN = a_run({"svc": 0.9}, rounds=2)


def test_runs_alike_in_what_is_needed_are_one_group() -> None:
    other = a_run({"svc": 0.9}, rounds=2, seed=3)
    elsewhere = replace(other, facts=(Fact("CPU", "another", "/proc/cpuinfo"),))
    together = put_together({"a": RUN, "b": elsewhere})
    assert together.groups == (("a", "b"),)
    assert any("a and b may be held side by side" in sentence for sentence in together.sentences())
    assert [c.name for c in together.conditions if c.name == "CPU" and not c.same and not c.needed] == ["CPU"]


@pytest.mark.parametrize(
    ("other", "condition"),
    [
        (replace(RUN, setup=replace(RUN.setup, kind="urls")), "kind of run"),
        (replace(RUN, setup=replace(RUN.setup, delta=0.02)), "±δ that does not matter"),
        (with_plan(RUN, model="big@v2"), "model"),
        (with_plan(RUN, users={"model": 9, "null": 8}), "users"),
        (with_plan(RUN, connection="new"), "connections"),
        (with_plan(RUN, reads=ReadSource(chunk_samples=4000)), "reads"),
        (with_plan(RUN, reads=ReadSource(paths=("/data/run1",))), "reads"),
    ],
)
def test_runs_that_differ_in_what_is_needed_are_kept_apart_with_the_reason(
    other: Run, condition: str
) -> None:
    together = put_together({"a": RUN, "b": other, "c": RUN})
    assert together.groups == (("a", "c"), ("b",))
    (refusal,) = (sentence for sentence in together.sentences() if "may not be compared with" in sentence)
    assert refusal == (
        "Ratios of a and c; b may not be compared with each other: they differ in " + condition + "."
    )


def test_the_same_reads_in_another_folder_are_the_same_reads() -> None:
    here, there = (with_plan(RUN, reads=ReadSource(paths=(f"{place}/run1",))) for place in ("/data", "/mnt"))
    assert put_together({"a": here, "b": there}).groups == (("a", "b"),)


def test_the_model_is_the_services_own_where_none_was_asked_for() -> None:
    fact = Fact("model fast@v1, default", "True", "GET /v1/models")
    own, asked = replace(RUN, facts=(fact,)), with_plan(RUN, model="fast@v1")
    assert put_together({"a": own, "b": asked}).groups == (("a", "b"),)


def test_more_runs_are_more_often_wrong_and_it_is_said() -> None:
    assert (
        "of 3 together one is in up to 15 %"
        in list(put_together({"a": RUN, "b": RUN, "c": RUN}).sentences())[-1]
    )


def test_folders_of_one_name_are_told_apart_by_their_parents(tmp_path: Path) -> None:
    folders = [tmp_path / "one" / "monday", tmp_path / "two" / "monday", tmp_path / "two" / "tuesday"]
    assert list(labels(folders).values()) == ["one/monday", "two/monday", "tuesday"]
