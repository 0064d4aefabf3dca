"""The locustfile: `locust -f loadgen/basecall.py --host http://HOST:8000`, in bases per second.

Users send reads to the service and every answer is checked. With --plan they play its blocks, and what was
measured is appended to --observations. Here are the user and the options; `loadgen.foreman` is what a process
with users does, `loadgen.console` what the process with the console does.
"""

import logging
import signal
from argparse import ArgumentTypeError, Namespace
from dataclasses import asdict
from pathlib import Path as File
from typing import ClassVar

import gevent
from locust import FastHttpUser, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import MasterRunner, Runner, WorkerRunner

from loadgen.bodies import prepare_bodies
from loadgen.client import BasecallClient
from loadgen.console import open_console
from loadgen.crew import Crew
from loadgen.errors import PlanError
from loadgen.foreman import Foreman, read_source
from loadgen.plan import CONNECTIONS, Plan, read_plan
from loadgen.playing import play_plan
from loadgen.shift import Shift
from reads.errors import ReadsError

logger = logging.getLogger(__name__)

AFTER_FAILURE_S = 0.2
"""How long a user stays away after a failure, so that a dead service is not hammered."""


class BasecallUser(FastHttpUser):  # type: ignore[misc]  # locust is untyped
    """Sends one read after the other, each as soon as the last was answered."""

    crew: ClassVar[Crew]
    """Of this process; set once its reads are prepared."""

    def on_start(self) -> None:
        """Join the crew."""
        self.seat = self.crew.take_seat()
        self.shift: Shift | None = None
        self.caller: BasecallClient | None = None

    def on_stop(self) -> None:
        """Leave the crew."""
        self.crew.leave_seat(self.seat)
        if self.shift and self.caller:
            self.shift.close_client(self.caller)

    @task  # type: ignore[untyped-decorator]  # locust is untyped
    def basecall(self) -> None:
        """Send one read when it is this user's turn."""
        shift = self.crew.turn(self.seat)
        if shift is None:
            raise StopUser
        if self.caller is None or shift is not self.shift:
            self.shift, self.caller = shift, shift.open_client()
        outcome = self.crew.send(shift, self.caller)
        self.environment.events.request.fire(
            request_type="POST",
            name=shift.assignment.name,
            response_time=outcome.client_ms,
            response_length=outcome.answer.response_bytes if outcome.answer else 0,
            response=None,
            context={},
            exception=outcome.error,
        )
        if outcome.error:
            shift.ended.wait(max(AFTER_FAILURE_S, outcome.error.retry_after_s))


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ArgumentTypeError(f"{text} is less than 0")
    return number


def add_arguments(parser: LocustArgumentParser) -> None:
    """Add what can be set on the command line and, but for plans, in the web UI."""
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
        help="Decides the order of the reads, and the simulated reads themselves",
    )
    parser.add_argument(
        "--connection",
        choices=CONNECTIONS,
        default=CONNECTIONS[0],
        env_var="FIVEWAYS_CONNECTION",
        help="Keep each user's connection, or open a new one for every request",
    )
    parser.add_argument(
        "--attach",
        default="",
        metavar="LABEL",
        include_in_web_ui=False,
        help="How this worker is attached to the network, such as host or pod: it dials paths of that label",
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
        help="Append what was measured in each block of the plan to this file (JSON lines)",
    )


def set_up(environment: Environment, runner: Runner, **_: object) -> None:
    """Give this process its crew, its console, or both, and the plan to whoever has the console."""
    options = environment.parsed_options
    try:
        plan = _plan(options)
        if not isinstance(runner, MasterRunner):
            BasecallUser.crew = Crew()
            foreman = Foreman(environment, runner, BasecallUser.crew)
            foreman.listen()
            foreman.load()
        elif options.processes:
            # The workers are this process's children, and would die of such an error one by one.
            next(prepare_bodies(read_source(options)))
    except (PlanError, ReadsError, ValueError) as error:
        logger.error("%s", error)  # noqa: TRY400  # it is the user's, who needs no traceback
        raise SystemExit(2) from error
    if not isinstance(runner, WorkerRunner):
        open_console(environment, runner, getattr(BasecallUser, "crew", None))
    if plan and not isinstance(runner, WorkerRunner):
        environment.host = plan.paths[0].url
        play_plan(environment, runner, plan, File(options.observations))
    else:
        # Ctrl-C is for locust's own greenlet: raised in a user's, it would lose the request in flight.
        main = gevent.getcurrent()
        gevent.signal_handler(signal.SIGINT, lambda: gevent.kill(main, KeyboardInterrupt))


def _plan(options: Namespace) -> Plan | None:
    if not options.plan:
        return None
    if not options.worker and not (options.headless and options.observations):
        raise PlanError("--plan needs --headless and --observations")
    plan = read_plan(File(options.plan))
    # Where the options are those of the plan, every worker is sent them with the order to spawn.
    options.plan_reads = asdict(plan.reads)
    # Workers of one label have nothing to do in blocks of another.
    options.num_users = options.spawn_rate = plan.most_users * len({path.attach for path in plan.paths})
    return plan


events.init_command_line_parser.add_listener(add_arguments)
events.init.add_listener(set_up)
