"""What the options promise: what contradicts itself is refused, from the command line and from the web UI."""

from argparse import ArgumentParser, Namespace
from pathlib import Path as File
from typing import Any

import pytest

from loadgen.errors import PathError, PlanError
from loadgen.options import (
    add_arguments,
    check,
    is_of_blocks,
    plan_of,
    read_source,
    set_defaults,
    take_plan,
    typed_paths,
)
from loadgen.paths import Path
from loadgen.plan import Plan, write_plan


class Parser(ArgumentParser):
    """Takes options as locust's does, which cannot be imported here: it would patch all of Python."""

    def add_argument(self, *names: str, **words: Any) -> Any:
        words.pop("env_var", None)
        words.pop("include_in_web_ui", None)
        return super().add_argument(*names, **words)


def parsed(*arguments: str) -> Namespace:
    parser = Parser()
    add_arguments(parser)
    parser.add_argument("--headless", action="store_true")
    parser.add_argument("-u", "--users", dest="num_users", type=int)
    parser.add_argument("--spawn-rate", type=float)
    parser.add_argument("--expect-workers", type=int, default=1)
    return parser.parse_args(arguments)


def test_locusts_defaults_and_ours_are_a_run() -> None:
    options = parsed()
    check(options)
    assert not is_of_blocks(options)
    assert read_source(options).paths == ()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--plan", "p.json"), "--plan needs --headless and --observations"),
        (("--path", "a=http://b", "--find", "concurrency"), "choose one of"),
        (("--find", "peak"), "needs an objective"),
        (("--find", "concurrency", "--arrival-rate", "3"), "for a closed loop"),
        (("--slo-p99-ms", "100"), "for an open loop"),
        (("--observations", "x.jsonl"), "are of blocks"),
    ],
)
def test_options_that_contradict_each_other_are_refused(arguments: tuple[str, ...], why: str) -> None:
    with pytest.raises(PlanError, match=why):
        check(parsed(*arguments))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("arrival_rate", -1.0),
        ("arrival_rate", float("nan")),
        ("window_s", 0.0),
        ("most_lag_ms", -5.0),
        ("check_share", 1.5),
        ("rounds", 0),
        ("chunk_samples", -1),
    ],
)
def test_numbers_of_the_web_ui_are_looked_at_too(name: str, value: float) -> None:
    options = parsed()
    setattr(options, name, value)
    with pytest.raises(PlanError, match="--" + name.replace("_", "-")):
        check(options)


def test_a_search_for_a_concurrency_has_users_to_search_among() -> None:
    options = parsed("--find", "concurrency")
    set_defaults(options)
    assert (options.num_users, options.spawn_rate) == (64, 64)
    options = parsed("--arrival-rate", "5", "--expect-workers", "3")
    set_defaults(options)
    assert options.num_users == 3, "every worker has a part of the schedule"
    options = parsed("--arrival-rate", "5", "-u", "7")
    set_defaults(options)
    assert options.num_users == 7


def test_paths_are_typed_or_in_a_file(tmp_path: File) -> None:
    file = tmp_path / "paths.toml"
    file.write_text('[[path]]\nname = "pod"\nurl = "http://10.0.0.8:8000"\nattach = "pod"\nway = "vxlan"\n')
    options = parsed("--path", "host=http://10.0.0.7:8000", "--paths", str(file))
    assert typed_paths(options) == (
        Path("host", "", "", "http://10.0.0.7:8000"),
        Path("pod", "vxlan", "", "http://10.0.0.8:8000", attach="pod"),
    )


@pytest.mark.parametrize(
    "content", ["", "path = 1", '[[path]]\nname = "a"', '[[path]]\nname = "a"\nurl = "http://b"\nuser = "c"']
)
def test_a_file_that_names_no_paths_is_refused(tmp_path: File, content: str) -> None:
    file = tmp_path / "paths.toml"
    file.write_text(content)
    with pytest.raises(PathError, match=r"paths\.toml"):
        typed_paths(parsed("--paths", str(file)))


def test_a_plan_of_paths_is_what_the_options_say() -> None:
    path = Path("host", "", "", "http://10.0.0.7:8000")
    options = parsed("--model", "null", "--window-s", "4", "--arrival-rate", "9", "--rounds", "3")
    plan = plan_of(options, (path,), 5)
    assert (plan.arms, plan.users, plan.rounds) == (("null",), {"null": 5}, 3)
    assert plan.window_s == pytest.approx(4.0)
    assert plan.arrival_rate == 9.0
    three = plan_of(options, (path,), 5, windows=3, window_s=2.0)
    assert (three.windows, three.window_s) == (3, pytest.approx(6.0))


def test_a_plan_of_a_file_says_what_workers_are_sent(tmp_path: File) -> None:
    plan = Plan((Path("host", "", "", "http://10.0.0.7:8000"),), rounds=2, check_share=0.5, expected="c.fq")
    write_plan(plan, tmp_path / "plan.json")
    options = parsed("--plan", str(tmp_path / "plan.json"))
    assert take_plan(options) == plan
    assert (options.check_share, options.expected, options.num_users) == (0.5, "c.fq", 8)
    assert read_source(options) == plan.reads
