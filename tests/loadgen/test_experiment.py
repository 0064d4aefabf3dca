"""The experiment follows locust's blocks, decides when it is over, and loses nothing when it is not."""

import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from measured import CONTROL, HOST, a_path, a_run, a_setup, an_observation
from wire_server import WireServer, serving

from loadgen.bodies import ReadSource
from loadgen.child import Child
from loadgen.errors import ExperimentError
from loadgen.experiment import Experiment, play, rounds_in_budget
from loadgen.observation import Observation, read_observations
from loadgen.paths import Path as Way
from loadgen.plan import Block, Plan, write_plan
from loadgen.results import BLOCKS, Run, Setup, load

PATIENCE_S = 60.0


@pytest.fixture
def server() -> Iterator[WireServer]:
    with serving() as server:
        yield server


def a_live_setup(url: str, *, rounds: int, budget_s: float = 1000.0) -> Setup:
    """Short blocks of the null arm over three paths that all lead to `url`."""
    plan = Plan(
        paths=tuple(Way(name, "", "", url) for name in ("host", "host-again", "svc")),
        rounds=rounds,
        arms=("null",),
        users={"null": 2},
        block_s=0.4,
        settle_s=0.1,
        drain_s=5.0,
        reads=ReadSource(simulated=4, mean_bases=400),
    )
    return replace(a_setup("svc"), kind="urls", plan=plan, budget_s=budget_s, options={})


def test_a_plan_is_played_and_every_block_is_yielded_as_it_ends(server: WireServer, tmp_path: Path) -> None:
    plan = a_live_setup(server.url, rounds=2).plan
    with closing(play(plan, tmp_path)) as observations:
        played = [(o.round, o.position, o.path) for o in observations]
    assert played == [(block.round, block.position, block.path.name) for block in plan.blocks()]


def test_what_locust_complains_of_is_passed_on(tmp_path: Path) -> None:
    plan = a_live_setup("http://127.0.0.1:9", rounds=1).plan
    nowhere = replace(plan, reads=ReadSource(paths=(str(tmp_path / "none.fast5"),)))
    with (
        closing(play(nowhere, tmp_path)) as observations,
        pytest.raises(ExperimentError, match=r"none\.fast5"),
    ):
        next(observations)


def test_a_run_goes_on_to_its_planned_rounds_and_is_in_its_folder(server: WireServer, tmp_path: Path) -> None:
    setup = a_live_setup(server.url, rounds=3)
    seen: list[int] = []
    experiment = Experiment(Run(setup, rounds_planned=3), tmp_path)
    experiment.warm_up()
    experiment.measure(lambda run: seen.append(len(run.observations)))
    results, page = experiment.report()
    # What ends the last round ends the run.
    assert seen == list(range(1, 9))
    assert len(experiment.run.rounds) == 3
    assert all(not observation.voids for observation in experiment.run.observations)
    assert load(tmp_path) == experiment.run
    assert [gate.name for gate in experiment.run.gates] == ["warm-up by host, null arm"]
    assert results.comparisons[0].verdict.rounds == 3
    assert page.read_text().startswith("<!doctype html>")
    assert not (tmp_path / "playing.jsonl").exists()


def test_each_server_is_warmed_and_each_by_one_path(tmp_path: Path) -> None:
    # As on a cluster, where each way of attaching has its server.
    host, again = (replace(path, attach="host") for path in (HOST, CONTROL))
    pod, service = (replace(a_path(name), attach="pod") for name in ("vxlan/podip", "vxlan/clusterip"))
    setup = replace(
        a_setup("svc", arms=("null",)), plan=Plan((host, again, pod, service), rounds=3, arms=("null",))
    )
    played: list[Block] = []

    def player(plan: Plan, folder: Path) -> Generator[Observation, None, None]:
        for block in plan.blocks():
            played.append(block)
            # The pod's server is slow to wake.
            yield an_observation(block, 0.5 if block.path is pod and block.round < 2 else 1.0)

    experiment = Experiment(Run(setup, rounds_planned=3), tmp_path, player=player)
    experiment.warm_up()
    assert {block.path for block in played} == {host, pod}
    assert [block.path for block in played].count(pod) == 5
    gates = {gate.name: gate.held for gate in experiment.run.gates}
    assert gates == {"warm-up by host, null arm": True, "warm-up by vxlan/podip, null arm": True}


def test_a_run_that_was_broken_off_goes_on_and_keeps_what_it_had(server: WireServer, tmp_path: Path) -> None:
    setup = a_live_setup(server.url, rounds=2)

    def break_off(run: Run) -> None:
        if len(run.observations) == 4:
            raise KeyboardInterrupt

    first = Experiment(Run(setup, rounds_planned=2), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        first.measure(break_off)
    assert len(first.run.rounds) == 1
    again = Experiment(load(tmp_path), tmp_path)
    assert len(again.run.observations) == 4
    again.measure(lambda _: None)
    # The round that was broken off stays in the file and does not count.
    assert [o.round for o in read_observations(tmp_path / BLOCKS)] == [0, 0, 0, 1, 2, 2, 2]
    assert [blocks[0].round for blocks in again.run.rounds] == [0, 2]


@pytest.mark.parametrize(("planned", "noise", "over"), [(3, 0.01, True), (4, 0.2, False), (6, 0.00001, True)])
def test_a_run_is_over_after_its_planned_rounds_or_when_all_is_resolved(
    planned: int, noise: float, over: bool, tmp_path: Path
) -> None:
    run = a_run({"svc": 0.9}, rounds=3, noise=noise)
    assert Experiment(replace(run, rounds_planned=planned), tmp_path).is_over() is over
    assert load(tmp_path).rounds_planned == planned


def test_nothing_goes_on_without_the_server(server: WireServer, tmp_path: Path) -> None:
    with Child([sys.executable, "-c", "raise SystemExit('out of memory')"], tmp_path / "log") as dead:
        assert dead.ended(within_s=PATIENCE_S) == 1
        experiment = Experiment(Run(a_live_setup(server.url, rounds=2), rounds_planned=2), tmp_path, dead)
        with pytest.raises(ExperimentError, match="out of memory"):
            experiment.measure(lambda _: None)


# Six blocks a round, one every 6 s, each of which takes 5 s: 35 s a round.
@pytest.mark.parametrize(
    ("budget_s", "said", "planned"), [(1000.0, 8, 8), (110.0, 8, 3), (110.0, 2, 2), (1.0, 8, 1)]
)
def test_after_the_first_round_it_is_known_how_many_the_budget_has_room_for(
    budget_s: float, said: int, planned: int
) -> None:
    run = a_run({"svc": 1.0}, rounds=1)
    setup = replace(run.setup, budget_s=budget_s)
    assert rounds_in_budget(replace(run, setup=setup, rounds_planned=said)) == planned


@pytest.mark.parametrize(("budget_s", "planned"), [(100.0, 8), (95.0, 2)])
def test_later_it_stays_as_it_is_unless_another_round_would_exceed_the_budget_by_too_much(
    budget_s: float, planned: int
) -> None:
    run = a_run({"svc": 1.0}, rounds=2)
    setup = replace(run.setup, budget_s=budget_s)
    assert rounds_in_budget(replace(run, setup=setup, rounds_planned=8)) == planned


def test_stopping_the_program_stops_locust(server: WireServer, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from contextlib import closing\n"
        "from pathlib import Path\n"
        "from loadgen.experiment import play\n"
        "from loadgen.plan import read_plan\n"
        "with closing(play(read_plan(Path(sys.argv[1])), Path(sys.argv[2]))) as blocks:\n"
        "    for block in blocks:\n"
        "        print(block.path, flush=True)\n"
    )
    write_plan(a_live_setup(server.url, rounds=1000).plan, tmp_path / "long.json")
    command = [sys.executable, str(script), str(tmp_path / "long.json"), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as program:
        assert program.stdout
        assert program.stdout.readline()
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=PATIENCE_S)
    server.wait_for_connections(0)
    assert not (tmp_path / "playing.jsonl").exists()
