"""Plays a plan inside locust: the run lasts as long as the plan, and every block is appended when it ends.

A run that is stopped ends at once: the block that was being played leaves no observation.
"""

import logging
import signal
from pathlib import Path as File

import gevent
from gevent.event import Event
from locust.env import Environment
from locust.rpc import Message
from locust.runners import LocalRunner, MasterRunner

from loadgen.conductor import Conductor
from loadgen.crew import Played
from loadgen.foreman import PLAY, PLAYED
from loadgen.observation import Observation, append_observation
from loadgen.plan import Plan

logger = logging.getLogger(__name__)

LOCAL = "local"
"""What locust calls the node of a runner without workers."""
EXIT_FAILED, EXIT_INTERRUPTED = 1, 130


def play_plan(environment: Environment, runner: LocalRunner | MasterRunner, plan: Plan, file: File) -> None:
    """Play `plan` once the users are there, append its observations to `file`, and then stop locust."""
    conductor = Conductor(
        plan,
        crews=lambda: _crews(runner),
        send=lambda crew, order: runner.send_message(PLAY, order, client_id=crew),
        own_cpu_counts=isinstance(runner, MasterRunner),
    )

    def on_played(msg: Message, **_: object) -> None:
        conductor.on_played(msg.node_id, msg.data["order"], Played.from_plain(msg.data["played"]))

    users_are_there = Event()
    main = gevent.getcurrent()

    def play() -> None:
        users_are_there.wait()
        for block in plan.blocks():
            observation = conductor.observe(block)
            append_observation(observation, file)
            _log(observation)
        runner.quit()

    def on_failure(greenlet: gevent.Greenlet) -> None:
        logger.error("the plan cannot be played on: %r", greenlet.exception)
        environment.process_exit_code = EXIT_FAILED
        runner.quit()

    def on_interrupt() -> None:
        environment.process_exit_code = EXIT_INTERRUPTED
        gevent.kill(main, KeyboardInterrupt)

    runner.register_message(PLAYED, on_played)
    environment.events.spawning_complete.add_listener(lambda **_: users_are_there.set())
    # Requests that failed are in the observations, and do not make locust fail.
    environment.process_exit_code = 0
    gevent.signal_handler(signal.SIGINT, on_interrupt)
    playing = gevent.spawn(play)
    playing.link_exception(on_failure)
    environment.events.quitting.add_listener(lambda **_: playing.kill())


def _crews(runner: LocalRunner | MasterRunner) -> dict[str, int]:
    if isinstance(runner, MasterRunner):
        return {worker.id: worker.user_count for worker in runner.clients.running + runner.clients.spawning}
    return {LOCAL: runner.user_count}


def _log(observation: Observation) -> None:
    logger.info(
        "round %d, %s, %s: %s bases/s%s",
        observation.round + 1,
        observation.path,
        observation.arm,
        f"{observation.bases_per_s:,.0f}",
        "".join(f"; void: {reason}" for reason in observation.voids),
    )
