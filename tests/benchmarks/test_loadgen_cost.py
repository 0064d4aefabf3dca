"""What the benchmark of the load generator's own cost promises: every sender is measured, beside the
others."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "loadgen_cost.py"


def test_all_senders_are_measured_at_every_size() -> None:
    tiny = ("--rounds", "1", "--seconds", "0.3", "--connections", "2", "--sizes", "20000")
    ran = subprocess.run([sys.executable, BENCHMARK, *tiny], capture_output=True, text=True, check=True)
    measured = json.loads(ran.stdout.splitlines()[-1])
    assert {(row["sender"], row["body_bytes"]) for row in measured["results"]} == {
        (sender, size) for sender in ("raw", "locust", "fiveways") for size in (20000,)
    }
    assert all(row["cpu_s_per_gb"]["median"] > 0 < row["gb_per_s"]["min"] for row in measured["results"])
    assert {(row["to"], row["body_bytes"]) for row in measured["ratios"]} == {
        (to, size) for to in ("raw", "locust") for size in (20000,)
    }
