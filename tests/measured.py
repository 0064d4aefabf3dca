"""Runs whose truth is known, for tests of what follows from blocks: made of numbers, not of measurements."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from loadgen.facts import Fact
from loadgen.observation import Observation
from loadgen.paths import Path
from loadgen.plan import ARMS, Arm, Block, Plan
from loadgen.results import Run, Setup
from loadgen.tally import Tally
from loadgen.topology import Absence

HOST = Path("host", "host", "hostip", "http://127.0.0.1:8000")
CONTROL = replace(HOST, name="host-again")
BASES_PER_S: dict[Arm, float] = {"model": 40_000.0, "null": 2_000_000.0}
SAMPLES_PER_BASE = 10


def a_path(name: str) -> Path:
    """A path of this name, which leads nowhere."""
    way, _, target = name.partition("/")
    return Path(name, way, target, "http://10.0.0.1:8000")


def a_setup(
    *names: str, rounds: int = 8, arms: tuple[Arm, ...] = ARMS, delta: float = 0.01, seed: int = 1
) -> Setup:
    """A setup of host networking, its control, and paths of these names."""
    return Setup(
        kind="lab",
        plan=Plan((HOST, CONTROL, *map(a_path, names)), rounds=rounds, arms=arms, seed=seed),
        baseline=HOST.name,
        control=CONTROL.name,
        delta=delta,
        budget_s=240.0,
        started_s=1_700_000_000.0,
        options={"line_rate_bps": None},
    )


def an_observation(block: Block, speed: float = 1.0, *, started_s: float = 1_700_000_000.0) -> Observation:
    """What a block measures when its path has `speed` times the bases/s of host networking."""
    window_s, requests = 4.0, 200
    bases = round(BASES_PER_S[block.arm] * window_s * speed)
    tally = Tally()
    latency_ms = 1000 * window_s * 8 / requests / speed
    for request in range(requests):
        spread = 0.5 + request / requests
        tally.add_answer(
            bases=bases // requests,
            samples=bases * SAMPLES_PER_BASE // requests,
            request_bytes=2 * bases * SAMPLES_PER_BASE // requests,
            response_bytes=3 * bases // requests,
            client_ms=latency_ms * spread,
            stage_ms={
                "receive": 1.0,
                "queue": 0.3 * latency_ms * spread,
                "compute": 0.5 * latency_ms * spread,
                "decode": 2.0,
                "total": 0.9 * latency_ms * spread,
            },
        )
    return Observation(
        round=block.round,
        position=block.position,
        path=block.path.name,
        arm=block.arm,
        users=8,
        started_s=started_s,
        window_s=window_s,
        elapsed_s=window_s + 1,
        spread_bases=float(bases),
        spread_samples=float(bases * SAMPLES_PER_BASE),
        window=tally,
        total=tally,
        client_cpu_s=0.4 / speed,
        busiest_client=0.2,
        server_cpu_s=4.0 / speed,
        server_bases=tally.bases,
        softirq_s=0.2 / speed,
        segments=bases // 50,
        retransmits=0,
    )


def a_run(speeds: Mapping[str, float], *, rounds: int = 8, noise: float = 0.003, seed: int = 1) -> Run:
    """A run in which each path has its speed relative to host networking, with `noise` on every block."""
    setup = a_setup(*(name for name in speeds if name not in {HOST.name, CONTROL.name}), rounds=rounds)
    rng = np.random.default_rng(seed)
    observations = tuple(
        an_observation(
            block,
            speeds.get(block.path.name, 1.0) * float(np.exp(noise * rng.standard_normal())),
            started_s=setup.started_s + 6 * number,
        )
        for number, block in enumerate(setup.plan.blocks())
    )
    return Run(
        setup=setup,
        rounds_planned=rounds,
        facts=(
            Fact("kernel", "6.1", "uname"),
            Fact("MTU", "1450", "netlink, route", path="vxlan/podip"),
            Fact("MTU", "1500", "netlink, link", path="vxlan/podip"),
        ),
        gates=(),
        absent=(Absence("macvlan/clusterip", "n/a by construction: no table of the node sees it"),),
        observations=observations,
    )
