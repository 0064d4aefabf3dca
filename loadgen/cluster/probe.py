"""Looks at a node and at paths from inside a pod, before anything is measured: `python -m
loadgen.cluster.probe`.

Runs in the image of the load generator, in pods that are attached as its workers are. It prints one line of
JSON: facts, and why a path cannot be dialled, where one cannot.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path as File
from typing import Any

import orjson

from loadgen.cluster.node_facts import node_facts
from loadgen.cluster.path_facts import path_facts
from loadgen.endpoint import check_paths, service_facts
from loadgen.errors import ExperimentError
from loadgen.facts import Fact, machine_facts, program_facts
from loadgen.plan import read_plan


@dataclass(frozen=True, slots=True)
class Seen:
    """What a probe has to say."""

    facts: tuple[Fact, ...]
    problems: tuple[str, ...]
    """Of paths that cannot be dialled."""

    def to_json(self) -> bytes:
        """Return one line."""
        return orjson.dumps(asdict(self), option=orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def from_json(cls, line: str) -> "Seen":
        """Read what `to_json` wrote. Raises ValueError."""
        plain: dict[str, Any] = orjson.loads(line)
        return cls(tuple(Fact(**fact) for fact in plain["facts"]), tuple(plain["problems"]))


def main(words: Sequence[str]) -> None:
    """Print what is seen from here."""
    parser = argparse.ArgumentParser(prog="python -m loadgen.cluster.probe", description=__doc__)
    parser.add_argument("--end", required=True, help="client or server: whose node this is")
    parser.add_argument("--plan", required=True, type=File, help="the plan whose paths are looked at")
    parser.add_argument("--attach", help="look at the paths of clients that are attached so")
    parser.add_argument("--peer", help="address of the other node: look at this one's NIC")
    parser.add_argument("--node", default="", help="address of this node")
    parser.add_argument("--pod", default="", help="address of a pod on the other node")
    told = parser.parse_args(words)
    facts, problems = list[Fact](), list[str]()
    if told.peer:
        facts += node_facts(told.end, told.peer, told.pod)
        facts += (replace(fact, name=f"{fact.name}, {told.end} node") for fact in machine_facts())
    if told.attach:
        facts += program_facts()
        for path in read_plan(told.plan).paths:
            if path.attach == told.attach:
                try:
                    check_paths((path,))
                    facts += path_facts(path, node=told.node)
                    facts += service_facts(path)
                except (ExperimentError, OSError) as error:
                    problems.append(f"{path.name} ({path.url}): {error}")
    sys.stdout.buffer.write(Seen(tuple(_once(facts)), tuple(problems)).to_json())


def _once(facts: Sequence[Fact]) -> Iterator[Fact]:
    """Yield each fact once: every path to one server tells the same of it."""
    yield from dict.fromkeys(facts)


if __name__ == "__main__":
    main(sys.argv[1:])
