"""Plays a plan inside locust: the run lasts as long as the plan, and every block is appended when it ends.

A run that is stopped ends at once: the block that was being played leaves no observation.
"""

import logging
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path as File

import gevent
from gevent.event import Event
from locust.env import Environment
from locust.rpc import Message
from locust.runners import LocalRunner, MasterRunner

from loadgen.conductor import Conductor
from loadgen.crew import Played
from loadgen.foreman import ATTACHED, PLAY, PLAYED
from loadgen.observation import Observation, append_observation
from loadgen.paths import Path
from loadgen.plan import Plan

logger = logging.getLogger(__name__)

LOCAL = "local"
"""What locust calls the node of a runner without workers."""
CREWS_COME_S = 60.0
"""How long workers may take to load their reads; blocks that lack users are void."""
LOOK_AGAIN_S = 0.1
EXIT_FAILED, EXIT_INTERRUPTED = 1, 130


def play_plan(environment: Environment, runner: LocalRunner | MasterRunner, plan: Plan, file: File) -> None:
    """Play `plan` once the users are there, append its observations to `file`, and then stop locust."""
    attached: dict[str, str] = {}
    conductor = Conductor(
        plan,
        crews=lambda path: _crews(runner, path, attached),
        send=lambda crew, order: runner.send_message(PLAY, order, client_id=crew),
        own_cpu_counts=isinstance(runner, MasterRunner),
    )

    def on_played(msg: Message, **_: object) -> None:
        conductor.on_played(msg.node_id, msg.data["order"], Played.from_plain(msg.data["played"]))

    def on_attached(msg: Message, **_: object) -> None:
        attached[msg.node_id] = msg.data

    users_are_there = Event()
    main = gevent.getcurrent()

    def play() -> None:
        users_are_there.wait()
        _wait_for_crews(plan, lambda path: _crews(runner, path, attached))
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
    runner.register_message(ATTACHED, on_attached)
    environment.events.spawning_complete.add_listener(lambda **_: users_are_there.set())
    # Requests that failed are in the observations, and do not make locust fail.
    environment.process_exit_code = 0
    gevent.signal_handler(signal.SIGINT, on_interrupt)
    playing = gevent.spawn(play)
    playing.link_exception(on_failure)
    environment.events.quitting.add_listener(lambda **_: playing.kill())


def _wait_for_crews(plan: Plan, crews: Callable[[Path], Mapping[str, int]]) -> None:
    """Return once every path has its users, but after CREWS_COME_S at the latest: a master takes its workers'
    users for spawned while they still load their reads."""
    give_up_s = time.monotonic() + CREWS_COME_S
    while any(sum(crews(path).values()) < plan.most_users for path in plan.paths):
        if time.monotonic() >= give_up_s:
            return
        gevent.sleep(LOOK_AGAIN_S)


def _crews(runner: LocalRunner | MasterRunner, path: Path, attached: Mapping[str, str]) -> dict[str, int]:
    """Return the users of each process that dials `path`; `attached` has the labels of workers."""
    if isinstance(runner, MasterRunner):
        workers = runner.clients.running + runner.clients.spawning
        return {w.id: w.user_count for w in workers if path.attach in {"", attached.get(w.id)}}
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
