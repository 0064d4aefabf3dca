"""A folder of results holds a run whole, or says what is wrong with it."""

from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from measured import a_run

from loadgen.analysis import analyse
from loadgen.errors import ResultsError
from loadgen.observation import append_observation
from loadgen.results import BLOCKS, RESULTS, Run, drop_cut_line, load, save


@pytest.fixture
def run() -> Run:
    return a_run({"vxlan/podip": 0.95}, rounds=2)


def test_a_run_is_read_as_it_was_saved(run: Run, tmp_path: Path) -> None:
    save(run, analyse(run), tmp_path)
    for observation in run.observations:
        append_observation(observation, tmp_path / BLOCKS)
    assert load(tmp_path) == run


@pytest.mark.parametrize("cut", [b"", b"{", b'{"round": 3, "posi'])
def test_a_run_that_was_killed_in_the_middle_of_a_line_goes_on_after_the_last_whole_one(
    cut: bytes, run: Run, tmp_path: Path
) -> None:
    save(run, analyse(run), tmp_path)
    *earlier, last = run.observations
    for observation in earlier:
        append_observation(observation, tmp_path / BLOCKS)
    with (tmp_path / BLOCKS).open("ab") as stream:
        stream.write(cut)
    drop_cut_line(tmp_path / BLOCKS)
    append_observation(last, tmp_path / BLOCKS)
    assert load(tmp_path) == run


def test_a_run_without_blocks_is_read_without_them(run: Run, tmp_path: Path) -> None:
    empty = replace(run, observations=())
    save(empty, analyse(empty), tmp_path)
    assert load(tmp_path) == empty


def test_results_say_null_where_there_is_no_number(run: Run, tmp_path: Path) -> None:
    empty = replace(run, observations=())
    save(empty, analyse(empty), tmp_path)
    (row, *_) = orjson.loads((tmp_path / RESULTS).read_bytes())["results"]["comparisons"]
    assert row["value"] is None
    assert row["verdict"]["high"] is None


def test_the_main_arm_is_the_first_and_hosts_are_not_compared(run: Run) -> None:
    assert run.setup.main_arm == "model"
    assert run.setup.compared == ("vxlan/podip",)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "holds no results"),
        ('{"schema": 99}', "has schema 99, not 1"),
        ('{"schema": 1, "run": {}}', "is not what fiveways writes"),
        ("{", "is not what fiveways writes"),
    ],
)
def test_what_is_no_run_is_refused_with_the_reason(text: str | None, complaint: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / RESULTS).write_text(text)
    with pytest.raises(ResultsError, match=complaint):
        load(tmp_path)
