"""Simulated reads come in order, whoever made them, and no more of them wait than were asked for."""

import tracemalloc
from itertools import islice
from multiprocessing import active_children
from pathlib import Path

import numpy as np

from reads.levels import chemistry
from reads.parallel import simulated_in_order
from reads.simulate import Simulation, simulated_read
from reads.truth import TruthWriter


def test_reads_come_in_order_from_several_processes_which_end_with_the_iteration() -> None:
    simulation = Simulation(3, chemistry(), mean_bases=60_000, sd_bases=0.0)
    made = simulated_in_order(simulation, 50, 2)
    for number, one in enumerate(islice(made, 3)):
        expected = simulated_read(simulation, number)
        assert one.read.read_id == expected.read.read_id
        np.testing.assert_array_equal(one.read.signal, expected.read.signal)
    assert active_children()
    made.close()  # type: ignore[attr-defined]
    assert not active_children()


def test_simulating_holds_one_read_at_a_time(tmp_path: Path) -> None:
    simulation = Simulation(1, chemistry(), mean_bases=500, sd_bases=0.0)
    tracemalloc.start()
    try:
        peaks = []
        with TruthWriter(tmp_path / "out.fast5") as truth:
            for number, one in enumerate(simulated_in_order(simulation, 300, 1)):
                truth.write(one)
                if number % 100 == 99:
                    peaks.append(tracemalloc.get_traced_memory()[1])
                    tracemalloc.reset_peak()
    finally:
        tracemalloc.stop()
    assert peaks[2] < 1.2 * peaks[1]
