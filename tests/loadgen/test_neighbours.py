"""What others take of the machine's CPU is told from what the run takes itself."""

from dataclasses import replace

import pytest
from measured import HOST, an_observation

from loadgen.neighbours import Moment, Neighbours, machine_now
from loadgen.plan import Block

OURS = replace(an_observation(Block(0, 0, HOST, "model", 0.0)), client_cpu_s=1.0, server_cpu_s=5.0)
"""A block that takes 6 of the 20 CPU seconds that two cores have in 10 s."""


def watch(blocks: int, busy_s_a_block: float) -> Neighbours:
    neighbours = Neighbours()
    for block in range(blocks):
        neighbours.note(OURS, Moment(clock_s=10.0 * block, busy_s=busy_s_a_block * block, cores=2))
    return neighbours


def test_a_machine_that_does_nothing_else_is_quiet() -> None:
    gate = watch(4, busy_s_a_block=6.0).gate()
    assert gate.held
    assert gate.detail == "others took 0% of its CPU, of which 5% are allowed"


@pytest.mark.parametrize(("busy_s", "held", "share"), [(6.8, True, "4%"), (10.0, False, "20%")])
def test_others_may_take_little(busy_s: float, held: bool, share: str) -> None:
    gate = watch(4, busy_s_a_block=busy_s).gate()
    assert gate.held is held
    assert gate.detail.startswith(f"others took {share} of its CPU")


def test_one_block_does_not_tell() -> None:
    assert watch(1, busy_s_a_block=20.0).gate().detail == "too few blocks to tell"


def test_this_machine_tells_how_busy_it_was() -> None:
    earlier, later = machine_now(), machine_now()
    assert later.clock_s >= earlier.clock_s
    assert later.busy_s >= earlier.busy_s > 0
