"""What can be set on locust's command line, and but for files in its web UI, and what follows from it.

Nothing is acted on here. Knows neither runners nor sockets.
"""

import math
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path as File
from typing import TYPE_CHECKING, Literal, get_args

from loadgen.bodies import BODY_TYPES, ReadSource
from loadgen.errors import PlanError
from loadgen.paths import Path, parse_paths, read_paths
from loadgen.plan import CONNECTIONS, NULL, Arm, Plan, read_plan

if TYPE_CHECKING:
    # Locust patches all of Python when it is imported, which is for those who run it.
    from locust.argument_parser import LocustArgumentParser

Find = Literal["", "peak", "concurrency"]
MOST_USERS = 64
"""Users that the search for a concurrency goes up to where none are named."""
SETTLE_SHARE = 0.2
"""The share of a block that is not measured."""


def _number(text: str, kind: Callable[[str], float], least: float, *, above: bool = False) -> float:
    try:
        number = kind(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no number") from error
    if not math.isfinite(number) or number < least or (above and number == least):
        raise ArgumentTypeError(f"{text} is not {'more than' if above else 'at least'} {least:g}")
    return number


def _count(text: str) -> int:
    return int(_number(text, int, 0))


def _at_least_one(text: str) -> int:
    return int(_number(text, int, 1))


def _not_negative(text: str) -> float:
    return _number(text, float, 0.0)


def _positive(text: str) -> float:
    return _number(text, float, 0.0, above=True)


def _share(text: str) -> float:
    share = _number(text, float, 0.0)
    if share > 1:
        raise ArgumentTypeError(f"{text} is not a share from 0 to 1")
    return share


def add_arguments(parser: "LocustArgumentParser") -> None:
    """Add our options to locust's."""
    _add_what_is_sent(parser)
    _add_how_it_is_sent(parser)
    _add_where_it_is_sent(parser)


def _add_what_is_sent(parser: "LocustArgumentParser") -> None:
    parser.add_argument(
        "--reads",
        default="",
        metavar="PATH",
        env_var="FIVEWAYS_READS",
        help="File or folder of reads to send (fast5, pod5, slow5); simulated reads when empty",
    )
    parser.add_argument(
        "--chunk-samples",
        type=_count,
        default=0,
        metavar="N",
        env_var="FIVEWAYS_CHUNK_SAMPLES",
        help="Send reads in pieces of N samples; 0 sends them whole",
    )
    parser.add_argument(
        "--body",
        choices=BODY_TYPES,
        default=BODY_TYPES[0],
        env_var="FIVEWAYS_BODY",
        help="How a read is sent: its samples alone, or as an Arrow stream, plain or with VBZ",
    )
    parser.add_argument(
        "--model",
        default="",
        metavar="NAME",
        env_var="FIVEWAYS_MODEL",
        help="Model to call with: the service's own choice when empty, none evaluated when 'null'",
    )
    parser.add_argument(
        "--seed",
        type=_count,
        default=1,
        metavar="N",
        env_var="FIVEWAYS_SEED",
        help="Decides the order of the reads, when they arrive, and the simulated reads themselves",
    )
    parser.add_argument(
        "--check-share",
        type=_share,
        default=0.01,
        metavar="SHARE",
        env_var="FIVEWAYS_CHECK_SHARE",
        help="Share of the answers that is held against another call of the same read: 1 for all, 0 for none",
    )
    parser.add_argument(
        "--expected",
        default="",
        metavar="FILE",
        env_var="FIVEWAYS_EXPECTED",
        help="The right calls, which `fiveways call READS -o FILE` wrote (FASTQ); where empty, answers are"
        " held against the first one for the same read",
    )


def _add_how_it_is_sent(parser: "LocustArgumentParser") -> None:
    parser.add_argument(
        "--connection",
        choices=CONNECTIONS,
        default=CONNECTIONS[0],
        env_var="FIVEWAYS_CONNECTION",
        help="Keep each user's connection, or open a new one for every request",
    )
    parser.add_argument(
        "--arrival-rate",
        type=_not_negative,
        default=0.0,
        metavar="R",
        env_var="FIVEWAYS_ARRIVAL_RATE",
        help="Open loop: R reads/s arrive by a Poisson schedule, shared equally among the users there are at"
        " the start, whether or not earlier ones were answered; latency is from the intended start. 0 is a"
        " closed loop, where each user sends its next read when the last was answered",
    )
    parser.add_argument(
        "--most-lag-ms",
        type=_positive,
        default=20.0,
        metavar="MS",
        env_var="FIVEWAYS_MOST_LAG_MS",
        help="Where 1%% of the requests of an open loop start later than this, the run is declared"
        " client-limited, and no latency is reported",
    )
    parser.add_argument(
        "--slo-p99-ms",
        type=_not_negative,
        default=0.0,
        metavar="MS",
        env_var="FIVEWAYS_SLO_P99_MS",
        help="What 99%% of the requests of an open loop may take, failed ones taking for ever; 0 is no"
        " objective",
    )
    parser.add_argument(
        "--find",
        choices=get_args(Find),
        default="",
        env_var="FIVEWAYS_FIND",
        help="peak: search, from --arrival-rate on (1 where 0), for the highest rate that meets --slo-p99-ms."
        f" concurrency: search, up to -u users ({MOST_USERS}), for where bases/s stop growing. Then stop",
    )
    parser.add_argument(
        "--window-s",
        type=_positive,
        default=5.0,
        metavar="S",
        env_var="FIVEWAYS_WINDOW_S",
        help="Measured seconds of a block of --path, and least seconds of each window of a trial of --find,"
        " of which three must agree within 10%%",
    )


def _add_where_it_is_sent(parser: "LocustArgumentParser") -> None:
    parser.add_argument(
        "--path",
        action="append",
        default=[],
        metavar="NAME=URL",
        include_in_web_ui=False,
        help="A path to the service; repeat it, and rounds of all of them are run, interleaved, with the same"
        " users and reads",
    )
    parser.add_argument(
        "--paths",
        default="",
        metavar="FILE",
        include_in_web_ui=False,
        help="The same from a TOML file: for each path [[path]] with name, url, and where only some workers"
        " dial it attach",
    )
    parser.add_argument(
        "--rounds",
        type=_at_least_one,
        default=10,
        metavar="N",
        help="How many rounds of --path or --paths are run",
    )
    parser.add_argument(
        "--attach",
        default="",
        metavar="LABEL",
        env_var="FIVEWAYS_ATTACH",
        include_in_web_ui=False,
        help="How this worker is attached to the network, such as host or pod: it dials the paths with the"
        " same label and those without any, and is idle else",
    )
    parser.add_argument(
        "--plan",
        metavar="FILE",
        include_in_web_ui=False,
        help="Play the blocks of this plan (JSON), headless; it says which reads are sent where, and how",
    )
    parser.add_argument(
        "--observations",
        metavar="FILE",
        include_in_web_ui=False,
        help="Append what was measured in each block to this file (JSON lines)",
    )


def read_source(options: Namespace) -> ReadSource:
    """Return which reads to send: those of the plan, or those of the command line or the web UI's form."""
    if plan_reads := getattr(options, "plan_reads", None):
        return ReadSource(**{**plan_reads, "paths": tuple(plan_reads["paths"])})
    paths = (options.reads,) if options.reads else ()
    return ReadSource(paths=paths, chunk_samples=options.chunk_samples, seed=options.seed, body=options.body)


def check(options: Namespace) -> None:
    """Raise PlanError where options contradict each other, or make no sense: the web UI checks none."""
    for name, least in (("chunk_samples", 0), ("arrival_rate", 0), ("slo_p99_ms", 0), ("rounds", 1)):
        if not least <= getattr(options, name) < math.inf:
            raise PlanError(f"--{name.replace('_', '-')} is at least {least}, not {getattr(options, name)}")
    for name in ("window_s", "most_lag_ms"):
        if not 0 < getattr(options, name) < math.inf:
            raise PlanError(f"--{name.replace('_', '-')} is more than 0, not {getattr(options, name)}")
    if not 0 <= options.check_share <= 1:
        raise PlanError(f"--check-share is a share from 0 to 1, not {options.check_share}")
    has_paths = bool(options.path or options.paths)
    if options.plan and not (options.headless and options.observations):
        raise PlanError("--plan needs --headless and --observations")
    if sum(map(bool, (options.plan, has_paths, options.find))) > 1:
        raise PlanError("choose one of --plan, --path or --paths, and --find")
    if options.find == "peak" and not options.slo_p99_ms:
        raise PlanError("--find peak needs an objective: --slo-p99-ms")
    if options.find == "concurrency" and options.arrival_rate:
        raise PlanError("--find concurrency is for a closed loop, without --arrival-rate")
    if options.slo_p99_ms and not (options.arrival_rate or options.find == "peak"):
        raise PlanError("--slo-p99-ms is for an open loop: give --arrival-rate, or --find peak")
    if options.observations and not (options.plan or has_paths or options.find):
        raise PlanError("--observations are of blocks: give --plan, --path, --paths or --find")


def is_of_blocks(options: Namespace) -> bool:
    """Say whether a run is made of blocks, which end, and not of one load until it is stopped."""
    return bool(options.plan or options.path or options.paths or options.find)


def set_defaults(options: Namespace) -> None:
    """Choose how many users there are where nobody said, and a run is of more than one load."""
    if options.num_users is None:
        if options.find == "concurrency":
            options.num_users = MOST_USERS
        elif options.arrival_rate or options.find or options.path or options.paths:
            # So that every worker has its part of an open loop, or of the rounds.
            options.num_users = max(options.expect_workers, 1)
        if options.num_users and options.spawn_rate is None:
            options.spawn_rate = options.num_users


def typed_paths(options: Namespace) -> tuple[Path, ...]:
    """Return the paths of --path and --paths. Raises PathError."""
    return (*parse_paths(options.path), *(read_paths(File(options.paths)) if options.paths else ()))


def take_plan(options: Namespace) -> Plan:
    """Return the plan of --plan, and make its words those of `options`. Raises PlanError."""
    plan = read_plan(File(options.plan))
    # Where the options are those of the plan, every worker is sent them with the order to spawn.
    options.plan_reads = asdict(plan.reads)
    options.check_share, options.expected = plan.check_share, plan.expected
    # Workers of one label have nothing to do in blocks of another.
    options.num_users = options.spawn_rate = plan.most_users * len({path.attach for path in plan.paths})
    return plan


def plan_of(
    options: Namespace,
    paths: tuple[Path, ...],
    users: int,
    *,
    windows: int = 1,
    window_s: float | None = None,
) -> Plan:
    """Return the plan of blocks over `paths` that the options ask for, or of windows as long as is said.
    Raises PlanError."""
    measured_s = windows * (window_s or options.window_s)
    arm: Arm = NULL if options.model == NULL else "model"
    return Plan(
        paths=paths,
        rounds=options.rounds,
        seed=options.seed,
        arms=(arm,),
        users={arm: users},
        block_s=measured_s / (1 - SETTLE_SHARE),
        settle_s=measured_s * SETTLE_SHARE / (1 - SETTLE_SHARE),
        model="" if options.model == NULL else options.model,
        connection=options.connection,
        arrival_rate=options.arrival_rate or None,
        windows=windows,
        most_lag_ms=options.most_lag_ms,
        check_share=options.check_share,
        expected=options.expected,
        reads=read_source(options),
    )
