"""What is written as JSON is what the published schemas say, and they are those of the code."""

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator, ValidationError
from measured import a_run

from loadgen.analysis import analyse
from loadgen.reanalysis import reanalyse
from loadgen.reanalysis_report import write_reanalysis
from loadgen.repeats import Repeat
from loadgen.report import write_together
from loadgen.results import RESULTS, Run, save

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


def validator(name: str) -> Draft202012Validator:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.fixture(scope="module")
def run() -> Run:
    return a_run({"vxlan/podip": 0.95, "bridge/podip": 1.0}, rounds=3)


def test_the_results_of_a_run(run: Run, tmp_path: Path) -> None:
    save(run, analyse(run), tmp_path)
    validator("results").validate(orjson.loads((tmp_path / RESULTS).read_bytes()))


def test_the_results_of_a_run_without_blocks(run: Run, tmp_path: Path) -> None:
    empty = replace(run, observations=())
    save(empty, analyse(empty), tmp_path)
    validator("results").validate(orjson.loads((tmp_path / RESULTS).read_bytes()))


def test_blocks(run: Run) -> None:
    silent = replace(run.observations[0], server_cpu_s=None, server_bases=None, softirq_s=None, segments=None)
    for block in (*run.observations[:3], replace(silent, retransmits=None, voids=("no counters",))):
        validator("block").validate(orjson.loads(block.to_json()))


def test_several_runs(run: Run, tmp_path: Path) -> None:
    _, said = write_together({"a": run, "b": run}, tmp_path)
    validator("together").validate(orjson.loads(said))


def test_what_others_measured(tmp_path: Path) -> None:
    repeats = [Repeat("a", path, number, 1.0 + number, None) for path in ("host", "svc") for number in (1, 2)]
    once = Repeat("b", "host", 1, 2.0, 1), Repeat("b", "svc", 1, 2.0, 2)
    _, said = write_reanalysis(
        reanalyse([*repeats, *once], baseline="", delta=0.01), [*repeats, *once], "others.csv", tmp_path
    )
    validator("reanalysis").validate(orjson.loads(said))


@pytest.mark.parametrize("change", [{"extra": 1}, {"rounds_planned": "many"}, {"setup": None}])
def test_what_is_no_result_is_refused(change: dict[str, Any], run: Run, tmp_path: Path) -> None:
    save(run, analyse(run), tmp_path)
    plain = orjson.loads((tmp_path / RESULTS).read_bytes())
    plain["run"].update(change)
    with pytest.raises(ValidationError):
        validator("results").validate(plain)


def maker() -> Any:
    spec = spec_from_file_location("make_schemas", SCHEMAS / "make.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_schemas_are_those_of_the_code() -> None:
    # If not: python docs/schemas/make.py
    made = dict(maker().schemas())
    assert {file.name.partition(".")[0] for file in SCHEMAS.glob("*.json")} == set(made)
    for name, schema in made.items():
        assert validator(name).schema == schema


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every schema of an object within a schema."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for part in schema.values():
            yield from parts(part)


@pytest.mark.parametrize("name", ["results", "block", "together", "reanalysis"])
def test_every_field_is_described_and_every_object_is_closed(name: str) -> None:
    for part in parts(validator(name).schema):
        assert part["additionalProperties"] is False
        assert sorted(part["required"]) == sorted(part["properties"])
        assert all(field.get("description") for field in part["properties"].values())
