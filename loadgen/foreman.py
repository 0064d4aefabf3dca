"""What a locust process with users does: its crew follows what locust and a conductor say, and is counted.

In locust's words a local runner or a worker. What is counted here reaches the process with the console once
and only once, also when a run is stopped: requests in flight are waited for first.
"""

import logging
import math
from argparse import Namespace
from dataclasses import asdict
from typing import Any

import gevent
from gevent.lock import BoundedSemaphore
from locust.env import Environment
from locust.rpc import Message
from locust.runners import Runner, WorkerRunner

from loadgen.bodies import ReadSource, prepare_bodies, shuffled
from loadgen.crew import Crew
from loadgen.shift import Assignment
from reads.errors import ReadsError

logger = logging.getLogger(__name__)

DRAIN_S = 10.0
"""How long requests in flight are waited for when a run stops."""

PLAY, PLAYED = "fiveways_play", "fiveways_played"
"""Messages: a block to play, and what came of it."""
ATTACHED = "fiveways_attached"
"""Message: how a worker is attached, as it was labelled."""
DRAIN, DRAINED = "fiveways_drain", "fiveways_drained"
"""Messages: end what is running, and the last counts when it has ended."""
TALLY = "fiveways_tally"
"""Where the counts are in a worker's report."""

GOLDEN_RATIO = (5**0.5 - 1) / 2


def read_source(options: Namespace) -> ReadSource:
    """Return which reads to send: those of the plan, or those of the command line or the web UI's form."""
    if plan_reads := getattr(options, "plan_reads", None):
        return ReadSource(**{**plan_reads, "paths": tuple(plan_reads["paths"])})
    paths = (options.reads,) if options.reads else ()
    return ReadSource(paths=paths, chunk_samples=options.chunk_samples, seed=options.seed)


class Foreman:
    """Directs a crew as locust and a conductor say, and reports what it counts."""

    def __init__(self, environment: Environment, runner: Runner, crew: Crew) -> None:
        # Options are the master's once a run begins.
        self._attach = environment.parsed_options.attach
        self._environment = environment
        self._runner = runner
        self._crew = crew
        self._source: ReadSource | None = None
        self._loading = BoundedSemaphore()

    def listen(self) -> None:
        """Follow locust's events and a conductor's messages from now on."""
        events = self._environment.events
        events.test_start.add_listener(self._on_test_start)
        events.test_stopping.add_listener(self._on_stopping)
        events.report_to_master.add_listener(self._on_report)
        self._runner.register_message(PLAY, self._on_play)
        if isinstance(self._runner, WorkerRunner):
            self._runner.register_message(DRAIN, self._on_drain)
            events.quitting.add_listener(self._drain)

    def load(self) -> None:
        """Give the crew the reads that the options ask for, unless it has them.

        Raises ReadsError, or ValueError where there are none. A master may begin a run while its workers load
        their first reads: who comes second waits.
        """
        with self._loading:
            source = read_source(self._environment.parsed_options)
            if source != self._source:
                bodies = []
                for body in prepare_bodies(source):
                    bodies.append(body)
                    # A worker that is busy for long would be given up by its master.
                    gevent.sleep(0)
                self._crew.bodies, self._source = shuffled(bodies, source.seed), source

    def _on_test_start(self, **_: object) -> None:
        if isinstance(self._runner, WorkerRunner):
            self._runner.send_message(ATTACHED, self._attach)
        try:
            self.load()
        except (ReadsError, ValueError) as error:
            # Users without reads wait. Locust shows this among its exceptions, and does not exit with 0.
            logger.error("%s", error)  # noqa: TRY400  # it is the user's, who needs no traceback
            trace = error.__traceback__
            self._environment.events.user_error.fire(user_instance=None, exception=error, tb=trace)
            return
        if not self._environment.parsed_options.plan:
            self._crew.begin(_endless(self._environment, self._runner))

    def _on_stopping(self, **_: object) -> None:
        if not self._crew.end(DRAIN_S):
            logger.warning("requests were still in flight after %g s, and are not counted", DRAIN_S)
        self._crew.dismiss()

    def _on_report(self, data: dict[str, Any], **_: object) -> None:
        data[TALLY] = asdict(self._crew.take_unreported())

    def _on_drain(self, **_: object) -> None:
        gevent.spawn(self._drain)

    def _drain(self, **_: object) -> None:
        self._on_stopping()
        self._runner.send_message(DRAINED, asdict(self._crew.take_unreported()))

    def _on_play(self, msg: Message, **_: object) -> None:
        gevent.spawn(self._play, msg.data["order"], Assignment(**msg.data["assignment"]))

    def _play(self, order: int, assignment: Assignment) -> None:
        self._runner.send_message(PLAYED, {"order": order, "played": asdict(self._crew.play(assignment))})


def _endless(environment: Environment, runner: Runner) -> Assignment:
    """Return the assignment of a run without a plan: all users, one host, until locust stops."""
    options = environment.parsed_options
    return Assignment(
        name="/v1/basecall",
        url=environment.host,
        netns=None,
        model=options.model,
        connection=options.connection,
        users=None,
        # Workers begin far from each other in the same reads.
        first_read=runner.worker_index * GOLDEN_RATIO % 1.0,
        settle_s=0.0,
        block_s=math.inf,
        drain_s=math.inf,
    )
