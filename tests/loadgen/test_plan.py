"""What a plan promises: every path and arm once a round, in an order that the seed alone decides."""

from collections import Counter
from dataclasses import replace
from itertools import groupby
from pathlib import Path as File
from typing import Any

import pytest

from loadgen.bodies import ReadSource
from loadgen.errors import PlanError
from loadgen.paths import Path
from loadgen.plan import Block, Plan, read_plan, write_plan

PATHS = tuple(
    Path(name=name, way="host", target="host-ip", url=f"http://10.0.0.{number}:8000")
    for number, name in enumerate(("host", "host-again", "vxlan"), start=1)
)


def rounds(plan: Plan) -> list[list[Block]]:
    return [list(blocks) for _, blocks in groupby(plan.blocks(), key=lambda block: block.round)]


def test_every_round_runs_every_path_with_every_arm_once() -> None:
    every = {(path.name, arm) for path in PATHS for arm in ("model", "null")}
    for number, blocks in enumerate(rounds(Plan(PATHS, rounds=4))):
        assert Counter((block.path.name, block.arm) for block in blocks) == Counter(every)
        assert [block.position for block in blocks] == list(range(6))
        assert {block.round for block in blocks} == {number}


def test_the_seed_alone_decides_the_order() -> None:
    plan = Plan(PATHS, rounds=8, seed=5)
    assert list(plan.blocks()) == list(replace(plan, block_s=9.0).blocks())
    assert list(plan.blocks()) != list(replace(plan, seed=6).blocks())


def test_orders_differ_from_round_to_round() -> None:
    orders = {
        tuple((block.path.name, block.arm) for block in blocks) for blocks in rounds(Plan(PATHS, rounds=8))
    }
    assert len(orders) > 1


def test_more_rounds_do_not_change_the_first_ones() -> None:
    few, many = Plan(PATHS, rounds=2), Plan(PATHS, rounds=5)
    assert list(few.blocks()) == list(many.blocks())[: 2 * 6]


def test_all_blocks_of_a_round_begin_at_the_same_read_and_rounds_at_others() -> None:
    starts = [{block.first_read for block in blocks} for blocks in rounds(Plan(PATHS, rounds=6))]
    assert all(len(start) == 1 for start in starts)
    assert len(set.union(*starts)) == 6
    assert all(0.0 <= read < 1.0 for read in set.union(*starts))


def test_a_plan_survives_its_file(tmp_path: File) -> None:
    plan = Plan(
        PATHS,
        rounds=3,
        arms=("null",),
        users={"null": 5},
        block_s=2.5,
        settle_s=0.25,
        drain_s=4.0,
        model="tiny",
        connection="new",
        seed=9,
        reads=ReadSource(paths=("a.fast5",), chunk_samples=4000, seed=9),
    )
    write_plan(plan, tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json") == plan


def test_one_number_of_users_is_for_every_arm() -> None:
    plan = Plan.from_plain(
        {"paths": [{"name": "a", "way": "", "target": "", "url": "http://a"}], "rounds": 1, "users": 3}
    )
    assert plan.users == {"model": 3, "null": 3}
    assert plan.most_users == 3


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"paths": ()}, "needs paths"),
        ({"paths": (PATHS[0], PATHS[0])}, "a name of its own"),
        ({"arms": ("fast",)}, "arms are"),
        ({"arms": ()}, "arms are"),
        ({"connection": "half"}, "connection is"),
        ({"rounds": 0}, "at least one round"),
        ({"settle_s": 5.0}, "must be less than block_s"),
        ({"drain_s": 0.0}, "drain_s"),
        ({"users": {"model": 1}}, "at least one user"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(change: dict[str, Any], why: str) -> None:
    with pytest.raises(PlanError, match=why):
        replace(Plan(PATHS, rounds=1), **change)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"paths": [{"name": "a"}], "rounds": 1}',
        '{"paths": [], "rounds": 1, "colour": "blue"}',
    ],
)
def test_a_file_that_is_no_plan_is_refused(tmp_path: File, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(PlanError):
        read_plan(tmp_path / "plan.json")


def test_a_missing_file_is_named(tmp_path: File) -> None:
    with pytest.raises(PlanError, match="nowhere"):
        read_plan(tmp_path / "nowhere.json")
