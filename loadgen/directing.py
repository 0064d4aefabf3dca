"""Runs that are made of blocks, inside locust: a plan, rounds over paths, or a search.

Once the users are there the blocks are played one after the other; every one is noted when it ends, and the
run ends with the last. A run that is stopped ends at once: the block that was being played leaves no
observation.
"""

import logging
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path as File

import gevent
from gevent.event import Event
from locust.env import Environment
from locust.rpc import Message
from locust.runners import LocalRunner, MasterRunner

from loadgen import options as typed
from loadgen import search
from loadgen.conductor import Conductor
from loadgen.crew import Played
from loadgen.errors import LoadgenError, PlanError
from loadgen.foreman import ATTACHED, BEGUN, PLAY, PLAYED
from loadgen.live import Live
from loadgen.observation import Observation, append_observation
from loadgen.options import is_of_blocks
from loadgen.paths import Path
from loadgen.plan import Plan
from loadgen.searching import Finding, find_concurrency, find_peak

logger = logging.getLogger(__name__)

LOCAL = "local"
"""What locust calls the node of a runner without workers."""
CREWS_COME_S = 60.0
"""How long workers may take to load their reads; blocks that lack users are void."""
LOOK_AGAIN_S = 0.1
EXIT_FAILED, EXIT_INTERRUPTED = 1, 130


class Director:
    """Plays what the options ask for in every run that is started, on the users of `runner`."""

    def __init__(
        self, environment: Environment, runner: LocalRunner | MasterRunner, live: Live, plan: Plan | None
    ) -> None:
        self._environment = environment
        self._runner = runner
        self._live = live
        self._plan = plan
        """That of --plan, which was read before the run."""
        self._users_are_there = Event()
        self._directing: gevent.Greenlet | None = None
        self._attached = {LOCAL: environment.parsed_options.attach}
        self._conductor: Conductor | None = None

    def listen(self) -> None:
        """Follow locust's events and the words of its workers from now on."""
        listen = self._environment.events
        listen.test_start.add_listener(self._on_test_start)
        listen.spawning_complete.add_listener(lambda **_: self._users_are_there.set())
        listen.test_stopping.add_listener(self._on_end)
        listen.quitting.add_listener(self._on_end)
        self._runner.register_message(ATTACHED, self._on_attached)
        self._runner.register_message(BEGUN, self._on_begun)
        self._runner.register_message(PLAYED, self._on_played)
        if self.has_interrupts:
            main = gevent.getcurrent()

            def on_interrupt() -> None:
                self._environment.process_exit_code = EXIT_INTERRUPTED
                gevent.kill(main, KeyboardInterrupt)

            gevent.signal_handler(signal.SIGINT, on_interrupt)

    @property
    def has_interrupts(self) -> bool:
        """Whether Ctrl-C is taken here: it breaks off a run that ends by itself."""
        return bool(
            self._environment.parsed_options.headless and is_of_blocks(self._environment.parsed_options)
        )

    def _on_test_start(self, **_: object) -> None:
        options = self._environment.parsed_options
        # Workers cannot know how many users there are in all, and are sent the options.
        options.run_users = self._runner.target_user_count
        self._users_are_there.clear()
        self._conductor = None
        play: Callable[[], None] | None = None
        if self._plan:
            play = self._play_plan
        elif options.path or options.paths:
            play = self._play_paths
        elif options.find == "peak":
            play = self._find_peak
        elif options.find == "concurrency":
            play = self._find_concurrency
        if play:
            self._directing = gevent.spawn(self._direct, play)
            self._directing.link_exception(self._on_failure)

    def _on_end(self, **_: object) -> None:
        if self._directing and self._directing is not gevent.getcurrent():
            self._directing.kill()

    def _on_failure(self, greenlet: gevent.Greenlet) -> None:
        self._fail(f"the run cannot go on: {greenlet.exception!r}")
        self._end_run()

    def _fail(self, why: str) -> None:
        logger.error(why)
        self._environment.process_exit_code = EXIT_FAILED

    def _end_run(self) -> None:
        if self._environment.parsed_options.headless:
            self._runner.quit()
        else:
            self._runner.stop()

    def _on_attached(self, msg: Message, **_: object) -> None:
        self._attached[msg.node_id] = msg.data

    def _on_begun(self, msg: Message, **_: object) -> None:
        if self._conductor:
            self._conductor.on_begun(msg.node_id, msg.data)

    def _on_played(self, msg: Message, **_: object) -> None:
        if self._conductor:
            self._conductor.on_played(msg.node_id, msg.data["order"], Played.from_plain(msg.data["played"]))

    def _direct(self, play: Callable[[], None]) -> None:
        self._users_are_there.wait()
        try:
            play()
        except LoadgenError as error:
            self._fail(str(error))
        self._end_run()

    def _crews(self, path: Path) -> dict[str, int]:
        if isinstance(self._runner, MasterRunner):
            clients = self._runner.clients
            users = {worker.id: worker.user_count for worker in clients.running + clients.spawning}
        else:
            users = {LOCAL: self._runner.user_count}
        return {crew: n for crew, n in users.items() if path.attach in {"", self._attached.get(crew)}}

    def _conduct(self, plan: Plan) -> Conductor:
        self._conductor = Conductor(
            plan,
            crews=self._crews,
            send=lambda crew, order: self._runner.send_message(PLAY, order, client_id=crew),
            own_cpu_counts=isinstance(self._runner, MasterRunner),
        )
        return self._conductor

    def _note(self, observation: Observation) -> None:
        self._live.note(observation)
        if file := self._environment.parsed_options.observations:
            append_observation(observation, File(file))
        logger.info(
            "round %d, %s, %s: %s bases/s%s",
            observation.round + 1,
            observation.path,
            observation.arm,
            f"{observation.bases_per_s:,.0f}",
            "".join(f"; void: {reason}" for reason in observation.voids),
        )

    def _play_plan(self) -> None:
        # Requests that failed are in the observations, and do not make locust fail.
        self._environment.process_exit_code = 0
        if self._plan:
            self._wait_for_crews(self._plan)
            self._play(self._plan)

    def _wait_for_crews(self, plan: Plan) -> None:
        """Return once every path has its users, but after CREWS_COME_S at the latest: a master takes its
        workers' users for spawned while they still load their reads."""
        give_up_s = time.monotonic() + CREWS_COME_S
        while any(sum(self._crews(path).values()) < plan.most_users for path in plan.paths):
            if time.monotonic() >= give_up_s:
                return
            gevent.sleep(LOOK_AGAIN_S)

    def _play_paths(self) -> None:
        options = self._environment.parsed_options
        paths = typed.typed_paths(options)
        there = {path.name: sum(self._crews(path).values()) for path in paths}
        if lonely := [path for path in paths if not there[path.name]]:
            missing = ", ".join(sorted({path.attach for path in lonely}))
            raise PlanError(f"no worker is attached by {missing}: start one with --attach {missing}")
        # As many for every path as the one with the fewest has, or they could not be compared.
        self._play(typed.plan_of(options, paths, min(there.values())))
        if any(row["blocks"] == row["void"] for row in self._live.paths()):
            self._fail("no block of some path counts; each says why it is void")

    def _play(self, plan: Plan) -> None:
        conductor = self._conduct(plan)
        for block in plan.blocks():
            self._note(conductor.observe(block))

    def _find_peak(self) -> None:
        options = self._environment.parsed_options
        self._report(
            find_peak(
                self._try,
                users=self._runner.user_count,
                first_rate=options.arrival_rate or 1.0,
                slo_p99_ms=options.slo_p99_ms,
                most_lag_ms=options.most_lag_ms,
                window_s=options.window_s,
            )
        )

    def _find_concurrency(self) -> None:
        options = self._environment.parsed_options
        self._report(
            find_concurrency(self._try, most_users=self._runner.user_count, window_s=options.window_s)
        )

    def _try(self, window_s: float, *, users: int, arrival_rate: float | None) -> Observation:
        """Play one block of a search."""
        options = self._environment.parsed_options
        path = Path("service", "", "", str(self._environment.host).rstrip("/"))
        plan = typed.plan_of(options, (path,), users, windows=search.WINDOWS, window_s=window_s)
        plan = replace(plan, arrival_rate=arrival_rate)
        conductor = self._conductor or self._conduct(plan)
        conductor.plan = plan
        observation = conductor.observe(next(plan.blocks()))
        self._note(observation)
        return observation

    def _report(self, finding: Finding) -> None:
        self._live.result = finding.document
        self._live.notes.append(finding.words)
        logger.info("%s", finding.words)
        # What failed when the load was too high was looked for.
        self._environment.process_exit_code = 0 if finding.found else EXIT_FAILED
