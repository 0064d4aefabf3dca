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
from locust.env import Environment
from locust.rpc import Message
from locust.runners import Runner, WorkerRunner

from loadgen.bodies import Body, ReadSource, prepare_bodies, shuffled
from loadgen.crew import Crew
from loadgen.shift import Assignment

logger = logging.getLogger(__name__)

DRAIN_S = 10.0
"""How long requests in flight are waited for when a run stops."""

PLAY, PLAYED = "fiveways_play", "fiveways_played"
"""Messages: a block to play, and what came of it."""
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


def gather_bodies(source: ReadSource) -> tuple[Body, ...]:
    """Return the bodies of `source`, in random order. Raises ReadsError, or ValueError without any."""
    bodies = []
    for body in prepare_bodies(source):
        bodies.append(body)
        # A worker that is busy for long would be given up by its master.
        gevent.sleep(0)
    return shuffled(bodies, source.seed)


def work(environment: Environment, runner: Runner, crew: Crew) -> None:
    """Have `crew` follow what locust and a conductor say, and report what it counts."""
    source = read_source(environment.parsed_options)

    def on_test_start(**_: object) -> None:
        nonlocal source
        options = environment.parsed_options
        if read_source(options) != source:
            source = read_source(options)
            crew.bodies = gather_bodies(source)
        if not options.plan:
            crew.begin(_endless(environment, runner))

    def on_stopping(**_: object) -> None:
        if not crew.end(DRAIN_S):
            logger.warning("requests were still in flight after %g s, and are not counted", DRAIN_S)
        crew.dismiss()

    def on_report(client_id: str, data: dict[str, Any]) -> None:  # noqa: ARG001  # locust names the arguments
        data[TALLY] = asdict(crew.take_unreported())

    def on_drain(**_: object) -> None:
        gevent.spawn(drain)

    def drain(**_: object) -> None:
        on_stopping()
        runner.send_message(DRAINED, asdict(crew.take_unreported()))

    def on_play(msg: Message, **_: object) -> None:
        gevent.spawn(play, msg.data["order"], Assignment(**msg.data["assignment"]))

    def play(order: int, assignment: Assignment) -> None:
        runner.send_message(PLAYED, {"order": order, "played": asdict(crew.play(assignment))})

    environment.events.test_start.add_listener(on_test_start)
    environment.events.test_stopping.add_listener(on_stopping)
    environment.events.report_to_master.add_listener(on_report)
    runner.register_message(PLAY, on_play)
    if isinstance(runner, WorkerRunner):
        runner.register_message(DRAIN, on_drain)
        environment.events.quitting.add_listener(drain)


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
