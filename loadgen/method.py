"""How to measure: what people may choose, and the setup that follows from it for given paths.

Pure, but for a look at the reads.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path as File
from typing import Any, cast

from loadgen.bodies import ReadSource, prepare_bodies
from loadgen.errors import PlanError
from loadgen.paths import Path
from loadgen.plan import Arm, Connection, Plan
from loadgen.results import Kind, Setup

AGAIN = "-again"
"""How the name of the other arm of the A/A control ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How to measure. For the words see plan.Plan, bodies.ReadSource and results.Setup."""

    reads: File | None
    """Simulated where None."""
    budget_s: float
    block_s: float
    settle_s: float
    users: int
    chunk_samples: int
    delta: float
    seed: int
    model: str
    arms: tuple[str, ...]
    connection: str

    def setup(self, kind: Kind, paths: tuple[Path, ...], baseline: str, options: Mapping[str, Any]) -> Setup:
        """Return the setup of these paths and the A/A control. Raises PlanError, and ReadsError where `reads`
        cannot be read."""
        source = ReadSource(
            paths=(str(self.reads),) if self.reads else (), chunk_samples=self.chunk_samples, seed=self.seed
        )
        if self.reads:
            try:
                next(prepare_bodies(source))
            except ValueError as error:
                raise PlanError(str(error)) from error
        paths = with_control(paths, baseline)
        if len(paths) < 3:
            raise PlanError(f"name a path to hold against {baseline}")
        arms = cast("tuple[Arm, ...]", self.arms)
        plan = Plan(
            paths=paths,
            rounds=1,
            seed=self.seed,
            arms=arms,
            users=dict.fromkeys(arms, self.users),
            block_s=self.block_s,
            settle_s=self.settle_s,
            model=self.model,
            connection=cast("Connection", self.connection),
            reads=source,
        )
        round_s = len(paths) * len(arms) * self.block_s
        return Setup(
            kind=kind,
            plan=replace(plan, rounds=max(1, math.floor(self.budget_s / round_s))),
            baseline=baseline,
            control=baseline + AGAIN,
            delta=self.delta,
            budget_s=self.budget_s,
            started_s=time.time(),
            options=options,
        )


def with_control(paths: tuple[Path, ...], baseline: str) -> tuple[Path, ...]:
    """Return `paths` with the baseline first, and once more after that. Raises PlanError without it."""
    first = [path for path in paths if path.name == baseline]
    if not first:
        raise PlanError(f"no path is called {baseline}; there are {', '.join(path.name for path in paths)}")
    others = [path for path in paths if path.name != baseline]
    return (*first, replace(first[0], name=baseline + AGAIN), *others)
