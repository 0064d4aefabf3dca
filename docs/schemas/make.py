"""Writes the JSON Schemas beside it from the dataclasses they describe: python docs/schemas/make.py.

Descriptions are the docstrings of classes and fields. Tests hold what is committed against what this makes.
"""

import ast
import dataclasses
import inspect
import json
import types
import typing
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from loadgen.observation import Observation
from loadgen.reanalysis import Reanalysis
from loadgen.repeats import Repeat
from loadgen.results import Results, Run
from loadgen.together import Together

FOLDER = Path(__file__).parent
PLAIN = {str: "string", int: "integer", bool: "boolean", types.NoneType: "null"}
NUMBER = {"type": ["number", "null"]}
"""What is not finite is written as null."""
NOTE = "Numbers that are not finite are null."
VERSION = {"description": "Version of the file.", "const": 1}

Schema = dict[str, Any]


class Definitions:
    """The dataclasses that a schema refers to, each once."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}

    def of(self, hint: Any) -> Schema:
        """Return the schema of a type."""
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if dataclasses.is_dataclass(hint):
            name = hint.__name__
            if name not in self.schemas:
                self.schemas[name] = {}
                self.schemas[name] = self.of_fields(typing.cast("type", hint))
            return {"$ref": f"#/$defs/{name}"}
        if origin in {typing.Union, types.UnionType}:
            return self._union(arguments)
        if origin is typing.Literal:
            return {"enum": list(arguments)}
        if origin is tuple:
            return {"type": "array", "items": self.of(arguments[0])}
        if origin in {dict, Mapping}:
            values = arguments[1]
            return {"type": "object"} | (
                {"additionalProperties": self.of(values)} if values is not Any else {}
            )
        return dict(NUMBER) if hint is float else {"type": PLAIN[hint]}

    def _union(self, hints: tuple[Any, ...]) -> Schema:
        schemas = [self.of(hint) for hint in hints]
        if any("type" not in schema for schema in schemas):
            return {"anyOf": schemas}
        names = [name for schema in schemas for name in _names(schema["type"])]
        return {"type": list(dict.fromkeys(names))}

    def of_fields(self, kind: type, **more: Schema) -> Schema:
        """Return the schema of a dataclass as an object with all of its fields, and `more` beside them."""
        told, hints = dict(_docstrings(kind)), typing.get_type_hints(kind)
        fields = {
            field.name: {
                "description": told.get(field.name, _spelled(field.name)),
                **self.of(hints[field.name]),
            }
            for field in dataclasses.fields(kind)
        }
        return _object(_one_line(inspect.getdoc(kind) or ""), fields | more)


def _names(kind: str | list[str]) -> list[str]:
    return [kind] if isinstance(kind, str) else kind


def _docstrings(kind: type) -> Iterator[tuple[str, str]]:
    """Yield the fields of a class and the strings below them."""
    body = typing.cast("ast.ClassDef", ast.parse(inspect.getsource(kind)).body[0]).body
    for field, below in pairwise(body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, _one_line(text)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _spelled(name: str) -> str:
    """Say a name that speaks for itself."""
    return name.replace("_", " ").capitalize() + "."


def _object(description: str, properties: Mapping[str, Schema]) -> Schema:
    return {
        "description": description,
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def schemas() -> Iterator[tuple[str, Schema]]:
    """Yield every schema by the name of its file."""
    of = Definitions()
    run = of.of_fields(Run)
    # Those are in blocks.jsonl.
    run["properties"].pop("observations")
    run["required"].remove("observations")
    about = "What a run was, and what follows from it."
    parts = {"schema": VERSION, "run": run, "results": of.of_fields(Results)}
    yield _document("results", _object(about, parts), of)

    of = Definitions()
    computed = {
        "bases_per_s": "The result of the block.",
        "samples_per_s": "The result of the block in samples.",
        "p50_ms": "Median latency in the window.",
        "p99_ms": "99th percentile of the latency in the window.",
    }
    more = {name: {"description": text, **NUMBER} for name, text in computed.items()}
    yield _document("block", of.of_fields(Observation, **more), of)

    of = Definitions()
    sentences = {"description": "What may be compared, and what may not.", **of.of(tuple[str, ...])}
    parts = {
        "schema": VERSION,
        "together": of.of_fields(Together, sentences=sentences),
        "runs": {"description": "Results, by the name of the run.", **of.of(Mapping[str, Results])},
    }
    yield _document("together", _object("Several runs side by side.", parts), of)

    of = Definitions()
    counted = {
        "comparable": "How many comparisons have enough repeats for an interval.",
        "alone_differ": "How many intervals of 95 % each, taken alone, leave out 1.",
    }
    document = of.of_fields(
        Reanalysis,
        schema=VERSION,
        source={"description": "Name of the CSV file.", **of.of(str)},
        **{name: {"description": text, **of.of(int)} for name, text in counted.items()},
        differ_by_chance={"description": "How many would on average if nothing differed.", **of.of(float)},
        repeats={"description": "What was read.", **of.of(tuple[Repeat, ...])},
    )
    yield _document("reanalysis", document, of)


def _document(name: str, schema: Schema, of: Definitions) -> tuple[str, Schema]:
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:fiveways:{name}:1",
        "title": f"{name}.json" if name != "block" else "a line of blocks.jsonl",
    }
    described = f"{schema['description']} {NOTE}"
    return name, {**head, **schema, "description": described, "$defs": dict(sorted(of.schemas.items()))}


if __name__ == "__main__":
    for file, made in schemas():
        text = json.dumps(made, indent=2, ensure_ascii=False)
        (FOLDER / f"{file}.schema.json").write_text(text + "\n", encoding="utf-8")
