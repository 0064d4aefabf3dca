"""What the locust process with the console does: it adds up what was counted, and shows bases per second.

In locust's words a local runner or the master. When a run stops, workers are asked to let their last requests
end, so that the totals shown are those of the server.
"""

import time
from typing import Any

import flask
import gevent
from gevent.event import Event
from locust.env import Environment
from locust.rpc import Message
from locust.runners import STATE_RUNNING, STATE_SPAWNING, MasterRunner, Runner
from locust.stats import CONSOLE_STATS_INTERVAL_SEC, console_logger
from locust.web import WebUI

from loadgen.crew import Crew
from loadgen.foreman import DRAIN, DRAIN_S, DRAINED, TALLY
from loadgen.live import Live
from loadgen.tally import Tally

REPORT_S = 5.0
"""How long after its last request a worker's counts may take to arrive."""
TAB = "bases"
"""What the web UI calls our tab in its address."""


def open_console(environment: Environment, runner: Runner, crew: Crew | None) -> None:
    """Show what the workers count, or else this process's own `crew`."""
    live = Live(time.monotonic())
    listen = environment.events
    if isinstance(runner, MasterRunner):
        _Workers(runner, live).listen(environment)
    if crew:
        listen.test_stopping.add_listener(lambda **_: live.add(crew.take_unreported()))
    listen.test_start.add_listener(lambda **_: live.restart(time.monotonic()))
    listen.reset_stats.add_listener(lambda **_: live.restart(time.monotonic()))
    listen.test_stopping.add_listener(lambda **_: live.tick(time.monotonic()))
    listen.quit.add_listener(lambda **_: _print_table(live))
    options = environment.parsed_options
    printing = not options.only_summary and (options.print_stats or options.headless)
    gevent.spawn(_tick_forever, runner, live, crew, printing=printing)
    if environment.web_ui:
        add_tab(environment.web_ui, live)


class _Workers:
    """The workers of a master, as far as their counts go."""

    def __init__(self, runner: MasterRunner, live: Live) -> None:
        self._runner = runner
        self._live = live
        self._drained: set[str] = set()
        self._news = Event()

    def listen(self, environment: Environment) -> None:
        """Take what workers report, and have them drain when a run stops."""
        environment.events.worker_report.add_listener(self._on_report)
        environment.events.test_stopping.add_listener(self._on_stopping)
        self._runner.register_message(DRAINED, self._on_drained)

    def _on_report(self, data: dict[str, Any], **_: object) -> None:
        # The first reports of a worker come before its crew.
        if TALLY in data:
            self._live.add(Tally.from_plain(data[TALLY]))

    def _on_drained(self, msg: Message, **_: object) -> None:
        self._live.add(Tally.from_plain(msg.data))
        self._drained.add(msg.node_id)
        self._news.set()

    def _on_stopping(self, **_: object) -> None:
        self._drained.clear()
        self._runner.send_message(DRAIN)
        give_up_s = time.monotonic() + DRAIN_S + REPORT_S
        # Workers may leave meanwhile, which nothing tells: look again every second.
        while self._missing() and time.monotonic() < give_up_s:
            self._news.clear()
            self._news.wait(1.0)

    def _missing(self) -> set[str]:
        clients = self._runner.clients
        return {worker.id for worker in clients.running + clients.spawning} - self._drained


def _tick_forever(runner: Runner, live: Live, crew: Crew | None, *, printing: bool) -> None:
    while True:
        gevent.sleep(CONSOLE_STATS_INTERVAL_SEC)
        if runner.state in (STATE_SPAWNING, STATE_RUNNING):
            if crew:
                live.add(crew.take_unreported())
            live.tick(time.monotonic())
            if printing:
                console_logger.info(live.line())
                console_logger.info("")


def _print_table(live: Live) -> None:
    for line in live.table():
        console_logger.info(line)


def add_tab(web_ui: WebUI, live: Live) -> None:
    """Add a tab with the figures of `live`, refreshed with locust's own."""
    columns = {"figure": "", "now": "Now", "mean": "Whole run"}
    web_ui.template_args["extended_tabs"] = [{"title": "Bases per second", "key": TAB}]
    web_ui.template_args["extended_tables"] = [
        {"key": TAB, "structure": [{"key": key, "title": title} for key, title in columns.items()]}
    ]

    def extend(response: flask.Response) -> flask.Response:
        if flask.request.path.endswith("/stats/requests") and response.is_json:
            figures = {**response.get_json(), "extended_stats": [{"key": TAB, "data": live.rows()}]}
            response.set_data(flask.json.dumps(figures))
        return response

    web_ui.app.after_request(extend)
