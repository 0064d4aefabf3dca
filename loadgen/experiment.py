"""The experiment's data flow: plan -> rounds -> blocks -> observations -> verdicts -> report.

Locust plays the plan in a process of its own and appends an observation a block; here they are followed, and
after every round it is decided whether another one is wanted. Knows neither labs nor clusters: it is given
paths.
"""

import math
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path as File
from typing import BinaryIO

import orjson

from loadgen.analysis import analyse, is_resolved
from loadgen.child import Child
from loadgen.errors import ExperimentError
from loadgen.gates import Gate, warm_up_gate
from loadgen.neighbours import Neighbours, machine_now
from loadgen.observation import Observation, append_observation
from loadgen.paths import Path
from loadgen.plan import Plan, write_plan
from loadgen.report import write_report
from loadgen.results import BLOCKS, Results, Run, save
from loadgen.warmth import is_warm

LOCUSTFILE = File(__file__).with_name("basecall.py")
PLAN = "plan.json"
LOCUST_LOG = "locust.log"
FOLLOW_S = 0.25
"""How often it is looked whether a block has ended."""
OVERRUN = 0.10
"""By this share rounds may exceed the budget when they become slower."""
MOST_WARM_WINDOWS = 8
"""After so many windows of each arm the run goes on, warm or not; the gate says which."""


Player = Callable[[Plan, File], Generator[Observation, None, None]]
"""Plays a plan, with its files in a folder, and yields each block as it ends; closing it ends the play."""


def _one_to_each_server(paths: Sequence[Path], baseline: str) -> tuple[Path, ...]:
    """Return the baseline, and the first path of those that lead elsewhere: where clients are attached in two
    ways, on a cluster, there is a server for each."""
    first = next(path for path in paths if path.name == baseline)
    servers = {first.attach: first}
    for path in paths:
        servers.setdefault(path.attach, path)
    return tuple(servers.values())


class Experiment:
    """A run being measured. What it has measured so far is in `run`, and in its folder, at any time."""

    def __init__(
        self, run: Run, folder: File, server: Child | None = None, *, player: Player | None = None
    ) -> None:
        """Prepare to go on with `run` in `folder`. Where a `server` is given, nothing goes on without it;
        where no `player` is, locust plays on this machine."""
        self.run = run
        self.folder = folder
        self._server = server
        self._play = player or play
        self._neighbours = Neighbours()
        self._warm_up_gates: tuple[Gate, ...] = ()

    def warm_up(self) -> None:
        """Send to each server until what comes back is steady; gates say how that ended."""
        plan = self.run.setup.plan
        paths = _one_to_each_server(plan.paths, self.run.setup.baseline)
        warm_up = replace(plan, paths=paths, rounds=MOST_WARM_WINDOWS)
        windows = {(path.name, arm): list[Observation]() for path in paths for arm in plan.arms}
        with closing(self._play(warm_up, self.folder)) as observations:
            for observation in observations:
                self._check_server()
                windows[observation.path, observation.arm].append(observation)
                if all(map(is_warm, windows.values())):
                    break
        self._warm_up_gates = tuple(warm_up_gate(path, arm, seen) for (path, arm), seen in windows.items())
        self.run = replace(self.run, gates=self._warm_up_gates)

    def measure(self, on_block: Callable[[Run], None]) -> None:
        """Run rounds until every path has a verdict or the budget is spent; tell `on_block` of each block."""
        setup = self.run.setup
        done = 1 + max((observation.round for observation in self.run.observations), default=-1)
        # A run that goes on after it was broken off numbers its rounds on, and draws new orders for them.
        rounds_left = setup.plan.rounds - len(self.run.rounds)
        plan = replace(setup.plan, rounds=rounds_left, seed=setup.plan.seed + done)
        with closing(self._play(plan, self.folder)) as observations:
            for played in observations:
                self._check_server()
                observation = replace(played, round=done + played.round)
                append_observation(observation, self.folder / BLOCKS)
                before = len(self.run.rounds)
                self.run = replace(self.run, observations=(*self.run.observations, observation))
                self._watch(observation)
                if len(self.run.rounds) > before:
                    self.run = replace(self.run, rounds_planned=rounds_in_budget(self.run))
                    if self.is_over():
                        return
                on_block(self.run)

    def is_over(self) -> bool:
        """Save what is known so far, and say whether no further round is wanted."""
        results = self.save()
        return (
            is_resolved(results, self.run.setup.main_arm) or len(self.run.rounds) >= self.run.rounds_planned
        )

    def _watch(self, observation: Observation) -> None:
        """Where the server is on this machine, say in a gate whether others use it, too."""
        if self._server:
            self._neighbours.note(observation, machine_now())
            self.run = replace(self.run, gates=(*self._warm_up_gates, self._neighbours.gate()))

    def _check_server(self) -> None:
        if self._server:
            self._server.check()

    def save(self) -> Results:
        """Write what is known so far to the folder, and return what follows from it."""
        results = analyse(self.run)
        save(self.run, results, self.folder)
        return results

    def report(self) -> tuple[Results, File]:
        """Write everything to the folder; return what follows from the run, and the page."""
        results = self.save()
        return results, write_report(self.run, results, self.folder)


def rounds_in_budget(run: Run) -> int:
    """Return how many rounds the budget has room for if all take as long as the first.

    That is kept later, because the levels of the looks rest on it, unless the rounds have become too slow:
    then it is as many as there are.
    """
    took_s = [
        max(block.started_s + block.elapsed_s for block in blocks) - min(block.started_s for block in blocks)
        for blocks in run.rounds
    ]
    spent_s, budget_s = math.fsum(took_s), run.setup.budget_s
    if len(took_s) == 1:
        return max(1, min(run.rounds_planned, math.floor(budget_s / spent_s)))
    another_s = spent_s / len(took_s)
    return run.rounds_planned if spent_s + another_s <= budget_s * (1 + OVERRUN) else len(took_s)


def play(plan: Plan, folder: File) -> Generator[Observation, None, None]:
    """Have locust play a plan, and yield each block as it ends. Closing the generator ends locust.

    Raises ExperimentError where locust ends by itself in any other way than having played the plan.
    """
    plan_file, playing = folder / PLAN, folder / "playing.jsonl"
    write_plan(plan, plan_file)
    playing.write_bytes(b"")
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"]
    command += ["--plan", str(plan_file), "--observations", str(playing)]
    try:
        with Child(command, folder / LOCUST_LOG) as locust, playing.open("rb") as stream:
            status = None
            while status is None:
                status = locust.ended(within_s=FOLLOW_S)
                for line in _whole_lines(stream):
                    yield Observation.from_plain(orjson.loads(line))
            if status:
                raise ExperimentError(
                    f"locust ended with status {status}; it said last:\n{locust.last_words()}"
                )
    finally:
        playing.unlink()


def _whole_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the lines appended since the last time; one that is still being written is left for later."""
    while line := stream.readline():
        if not line.endswith(b"\n"):
            stream.seek(-len(line), 1)
            return
        yield line
