"""The interleaved schedule: which path is measured with which arm, and in what order.

A round runs every path with every arm once, in an order that the plan's seed alone decides, and every block
of a round starts at the same read. Pure: knows neither clocks nor sockets; `loadgen.conductor` plays it.
"""

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path as File
from typing import Any, Literal, Self, get_args

import orjson

from loadgen.bodies import ReadSource
from loadgen.errors import PathError, PlanError
from loadgen.paths import Path

Arm = Literal["model", "null"]
"""What the service computes: `model` calls bases, `null` answers as many without evaluating a network."""
ARMS: tuple[Arm, ...] = get_args(Arm)
NULL: Arm = "null"

Connection = Literal["keep-alive", "new"]
"""Whether a user keeps its connection for its next request, or opens a new one for each."""
CONNECTIONS: tuple[Connection, ...] = get_args(Connection)


@dataclass(frozen=True, slots=True)
class Block:
    """One path, one arm, one interval."""

    round: int
    position: int
    """Place within the round, from 0."""
    path: Path
    arm: Arm
    first_read: float
    """Where in the reads the block begins, in [0, 1): the same for all blocks of a round."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured and how. Raises PlanError where it makes no sense."""

    paths: tuple[Path, ...]
    rounds: int
    """The most rounds to run; whoever reads the observations may stop earlier."""
    seed: int = 1
    arms: tuple[Arm, ...] = ARMS
    users: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(ARMS, 8))
    """How many users send at once, for each arm."""
    block_s: float = 5.0
    """From the release of the users to the last request they may start."""
    settle_s: float = 1.0
    """The beginning of a block that is not measured."""
    drain_s: float = 30.0
    """How long after `block_s` a request may still be answered."""
    model: str = ""
    """The model that the `model` arm asks for; the service's own choice when empty."""
    connection: Connection = "keep-alive"
    arrival_rate: float | None = None
    """An open loop: reads/s that all users send together, by a Poisson schedule; None for a closed loop, in
    which each user sends its next read when the last was answered."""
    windows: int = 1
    """Into how many equal windows the measured part of a block is cut."""
    most_lag_ms: float = 20.0
    """Where 1 % of the requests of an open loop start later than this, the client and not the service is
    measured, and the block is void."""
    check_share: float = 0.01
    """The share of the answers that is compared with another call of the same read."""
    expected: str = ""
    """FASTQ or FASTA file of the right calls of the `model` arm; where empty, all answers for a read must be
    the same."""
    reads: ReadSource = field(default_factory=ReadSource)

    def __post_init__(self) -> None:
        names = [path.name for path in self.paths]
        if not names or len(set(names)) < len(names):
            raise PlanError(f"a plan needs paths, each with a name of its own, not {names}")
        if not self.arms or not set(self.arms) <= set(ARMS) or len(set(self.arms)) < len(self.arms):
            raise PlanError(f"arms are one or both of {', '.join(ARMS)}, not {list(self.arms)}")
        if self.connection not in CONNECTIONS:
            raise PlanError(f"connection is {' or '.join(CONNECTIONS)}, not {self.connection!r}")
        if self.rounds < 1:
            raise PlanError(f"a plan needs at least one round, not {self.rounds}")
        if not 0 <= self.settle_s < self.block_s:
            raise PlanError(f"settle_s ({self.settle_s}) must be less than block_s ({self.block_s})")
        if self.drain_s <= 0:
            raise PlanError(f"drain_s must be more than 0, not {self.drain_s}")
        if self.arrival_rate is not None and not 0 < self.arrival_rate < math.inf:
            raise PlanError(f"arrival_rate must be more than 0 reads/s, not {self.arrival_rate}")
        if self.windows < 1:
            raise PlanError(f"a block has at least one window, not {self.windows}")
        if self.most_lag_ms <= 0:
            raise PlanError(f"most_lag_ms must be more than 0, not {self.most_lag_ms}")
        if not 0 <= self.check_share <= 1:
            raise PlanError(f"check_share is a share from 0 to 1, not {self.check_share}")
        if any(self.users.get(arm, 0) < 1 for arm in self.arms):
            raise PlanError(f"every arm needs at least one user, not {dict(self.users)}")

    @property
    def window_s(self) -> float:
        """How much of a block is measured."""
        return self.block_s - self.settle_s

    @property
    def most_users(self) -> int:
        """The users that must exist for the largest arm."""
        return max(self.users[arm] for arm in self.arms)

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks in the order in which they are run."""
        for number in range(self.rounds):
            chance = random.Random(f"{self.seed}/{number}")
            first_read = chance.random()
            order = [(path, arm) for path in self.paths for arm in self.arms]
            chance.shuffle(order)
            for position, (path, arm) in enumerate(order):
                yield Block(number, position, path, arm, first_read)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Read a plan from what JSON can say: `users` may be one number for every arm. Raises PlanError."""
        try:
            values = dict(plain)
            values["paths"] = tuple(Path(**path) for path in plain["paths"])
            if "arms" in plain:
                values["arms"] = tuple(plain["arms"])
            if isinstance(plain.get("users"), int):
                values["users"] = dict.fromkeys(ARMS, plain["users"])
            if "reads" in plain:
                source = dict(plain["reads"])
                values["reads"] = ReadSource(**{**source, "paths": tuple(source.get("paths", ()))})
            return cls(**values)
        except (KeyError, TypeError, AttributeError, PathError) as error:
            raise PlanError(f"not a plan: {error}") from error


def read_plan(file: File) -> Plan:
    """Read a plan written by `write_plan` or by hand. Raises PlanError."""
    try:
        plain = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise PlanError(f"{file}: {error}") from error
    return Plan.from_plain(plain)


def write_plan(plan: Plan, file: File) -> None:
    """Write `plan` as JSON."""
    file.write_bytes(orjson.dumps(asdict(plan), option=orjson.OPT_INDENT_2))
