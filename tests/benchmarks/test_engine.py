import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from benchmarks.arms import Turn
from benchmarks.engine import kept_shares, parse_sizes, rate_rows
from benchmarks.measure import Timing

ROOT = Path(__file__).parents[2]
# PyTorch's threads else spin at each step of its LSTMs, and a busy machine takes minutes.
PATIENT = os.environ | {"OMP_WAIT_POLICY": "passive"}


def turn(per_s: float) -> Turn:
    return Turn(Timing(per_s, wall_s=1.0, cpu_s=2.0), None, 0)


def last_line(*command: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=PATIENT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_what_is_kept_on_shared_cores_is_a_ratio_of_each_round():
    assert kept_shares([(turn(100.0), turn(45.0)), (turn(200.0), turn(50.0))]) == [0.45, 0.25]


def test_rates_stand_beside_the_ceiling_but_not_decoding_which_has_another():
    found = {f"a|{stage}": [turn(1e6), turn(2e6), turn(4e6)] for stage in ("network", "decoding", "both")}
    rows = rate_rows(["a"], found, ceiling=8e6)
    assert rows[0] == ("a: network", 2000.0, 1000.0, 4000.0, 25.0, 1000.0)
    assert {row[0]: row[4] for row in rows} == {"a: network": 25.0, "a: decoding": None, "a: both": 25.0}


def test_batch_sizes_are_numbers_with_commas_between():
    assert parse_sizes("32,64") == (32, 64)
    assert parse_sizes("") == ()
    for wrong in ("32;64", "0"):
        with pytest.raises(typer.BadParameter):
            parse_sizes(wrong)


def test_a_quick_run_has_every_engine_and_stage_and_precise_calls_are_pytorchs():
    found = last_line("benchmarks.engine", "--quick", "--device", "cpu")
    rates = found["figures"]["samples_per_s"]
    for arm in ("PyTorch modules, float32", "PyTorch modules, bfloat16", "basecaller, precise"):
        for stage in ("network", "decoding", "both"):
            assert rates[f"{arm}: {stage}"] > 0
    identity = found["figures"]["identity_percent"]
    assert identity["basecaller, precise"] == identity["PyTorch modules, float32"] > 50
    assert set(found["figures"]["kept_on_shared_cores"]) == set(identity)


def test_a_quick_run_of_the_ceilings_has_the_matrix_rate_and_every_file_format():
    found = last_line("benchmarks.ceilings", "--quick", "--no-lab")
    assert all(rates["float32"] > 0 for rates in found["figures"]["matrix_flops_per_s"].values())
    assert set(found["figures"]["file_samples_per_s"]) == {
        *("HDF5, gzip 1, h5py alone", "HDF5, VBZ, h5py alone", "fast5, VBZ, as reads", "pod5, VBZ, as reads")
    }
