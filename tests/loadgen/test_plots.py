"""Pictures take their colours from the page, have nothing to run, and are not there without data."""

import re
from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from measured import a_run

from loadgen import plots
from loadgen.analysis import analyse
from loadgen.results import Results, Run

PICTURES: dict[str, Callable[[Run, Results], str]] = {
    "forest": lambda run, results: plots.forest_of_arm(run, results, "model"),
    "over_time": lambda run, _: plots.over_time(run, "null"),
    "latencies": lambda run, _: plots.latencies(run, "model"),
    "stages": lambda _, results: plots.stages(results, "model"),
    "cpu": lambda _, results: plots.cpu(results, "null"),
    "ceilings": lambda _, results: plots.ceilings(results),
}


@pytest.fixture(scope="module")
def run() -> Run:
    return a_run({"vxlan/podip": 0.95, "routed/podip": 1.0}, rounds=3)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_one_svg_element_with_the_colours_of_the_page(name: str, run: Run) -> None:
    svg = PICTURES[name](run, analyse(run))
    root = ElementTree.fromstring(svg)  # noqa: S314  # it is our own
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("aria-label")
    assert root.get("width") is None
    assert "var(--ink)" in svg
    assert not re.search(r"#0102", svg)
    assert "<script" not in svg


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_on_one_page_share_no_ids_but_of_equal_things(name: str, run: Run) -> None:
    svg = PICTURES[name](run, analyse(run))
    ids = re.findall(r' id="([^"]+)"', svg)
    assert len(ids) == len(set(ids))
    assert all(f"#{found}" in svg for found in ids)


@pytest.mark.parametrize("name", PICTURES)
def test_without_data_there_is_no_picture(name: str, run: Run) -> None:
    empty = replace(run, observations=())
    assert PICTURES[name](empty, analyse(empty)) == ""


def test_names_of_paths_are_text_that_can_be_read(run: Run) -> None:
    assert ">vxlan/podip<" in plots.forest_of_arm(run, analyse(run), "model")
