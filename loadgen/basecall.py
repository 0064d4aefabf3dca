"""The locustfile: `locust -f loadgen/basecall.py --host http://HOST:8000`, in bases per second.

Users send reads to the service and every answer is checked: one after the other, or when they are due. Here
is the user, and what each process of locust is given; `loadgen.options` has the options, `loadgen.foreman` is
what a process with users does, `loadgen.console` and `loadgen.directing` what the process with the console
does.
"""

import logging
import signal
from typing import ClassVar

import gevent
from locust import FastHttpUser, events, task
from locust.argument_parser import get_parser
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import MasterRunner, Runner, WorkerRunner

from loadgen.arena import Arena
from loadgen.bodies import prepare_bodies
from loadgen.console import open_console
from loadgen.crew import Crew
from loadgen.directing import Director
from loadgen.errors import PathError, PlanError
from loadgen.foreman import Foreman
from loadgen.options import add_arguments, check, read_source, set_defaults, take_plan, typed_paths
from loadgen.paths import check_url
from loadgen.sender import Sender
from loadgen.shift import Outcome, Shift
from reads.errors import ReadsError

logger = logging.getLogger(__name__)


class BasecallUser(FastHttpUser):  # type: ignore[misc]  # locust is untyped
    """Sends reads when it is its turn."""

    crew: ClassVar[Crew]
    """Of this process; set once its reads are prepared."""
    arena: ClassVar[Arena] = Arena()
    """Made when locust reads this file, which is before it forks: all its processes share it."""

    def on_start(self) -> None:
        """Join the crew."""
        self.sender = Sender(self.crew, self.report)

    def on_stop(self) -> None:
        """Leave the crew."""
        self.sender.leave()

    @task  # type: ignore[untyped-decorator]  # locust is untyped
    def basecall(self) -> None:
        """Send one read when it is this user's turn."""
        if not self.sender.work():
            raise StopUser

    def report(self, shift: Shift, outcome: Outcome) -> None:
        """Tell locust of a request that has ended."""
        self.environment.events.request.fire(
            request_type="POST",
            name=shift.assignment.name,
            response_time=outcome.latency_ms,
            response_length=outcome.answer.response_bytes if outcome.answer else 0,
            response=None,
            context={},
            exception=outcome.error,
        )


def set_up(environment: Environment, runner: Runner, **_: object) -> None:
    """Give this process its crew, its console, or both."""
    options = environment.parsed_options
    try:
        plan = take_plan(options) if options.plan else None
        if not isinstance(runner, WorkerRunner):
            check(options)
            set_defaults(options)
            paths = plan.paths if plan else typed_paths(options)
            # Locust wants a host, also where the paths have theirs.
            environment.host = paths[0].url if paths else environment.host
            _check_host(environment)
        if not isinstance(runner, MasterRunner):
            BasecallUser.crew = Crew()
            foreman = Foreman(environment, runner, BasecallUser.crew, BasecallUser.arena)
            foreman.listen()
            foreman.load()
        elif options.processes:
            # The workers are this process's children, and would die of such an error one by one.
            next(prepare_bodies(read_source(options)))
    except (PlanError, PathError, ReadsError, ValueError) as error:
        logger.error("%s", error)  # noqa: TRY400  # it is the user's, who needs no traceback
        raise SystemExit(2) from error
    if isinstance(runner, WorkerRunner):
        _leave_interrupts_to_locust()
        return
    live = open_console(environment, runner, getattr(BasecallUser, "crew", None))
    director = Director(environment, runner, live, plan)
    director.listen()
    if not director.has_interrupts:
        _leave_interrupts_to_locust()


def _check_host(environment: Environment) -> None:
    """Raise PathError where users could not be sent to the host, or have none and are not asked for one."""
    options = environment.parsed_options
    if environment.host:
        check_url("--host", environment.host)
    elif options.headless or options.autostart:
        raise PathError("nowhere to send to: name --host http://10.0.0.7:8000, or --path NAME=URL")


def _leave_interrupts_to_locust() -> None:
    # Ctrl-C is for locust's own greenlet: raised in a user's, it would lose the request in flight.
    main = gevent.getcurrent()
    gevent.signal_handler(signal.SIGINT, lambda: gevent.kill(main, KeyboardInterrupt))


events.init_command_line_parser.add_listener(add_arguments)
events.init.add_listener(set_up)

if __name__ == "__main__":
    # Locust prints its help before it reads a locustfile: this is how to see its options and ours.
    get_parser().parse_args(["--help"])
