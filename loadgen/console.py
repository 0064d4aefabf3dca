"""What the locust process with the console does: it adds up what was counted, and shows bases per second.

In locust's words a local runner or the master. When a run stops, workers are asked to let their last requests
end, so that the totals shown are those of the server.
"""

import time
from argparse import Namespace
from http import HTTPStatus
from pathlib import Path as File
from typing import Any

import flask
import gevent
from gevent.event import Event
from locust.env import Environment
from locust.rpc import Message
from locust.runners import STATE_RUNNING, STATE_SPAWNING, MasterRunner, Runner
from locust.stats import CONSOLE_STATS_INTERVAL_SEC, console_logger
from locust.web import WebUI

from loadgen.charts import with_charts
from loadgen.crew import Crew
from loadgen.figures import COLUMNS, TITLES
from loadgen.foreman import DRAIN, DRAIN_S, DRAINED, TALLY
from loadgen.live import Live
from loadgen.options import is_of_blocks
from loadgen.outputs import HistoryFile, as_json, extend_html, print_json, write_csv, write_json
from loadgen.tally import Tally

REPORT_S = 5.0
"""How long after its last request a worker's counts may take to arrive."""
EXIT_FAILED = 1
TAB = "bases"
"""What the web UI calls our tab in its address."""


def open_console(environment: Environment, runner: Runner, crew: Crew | None) -> Live:
    """Show what the workers count, or else this process's own `crew`; return what is shown."""
    live = Live(time.monotonic())
    options = environment.parsed_options
    began_s = time.time()
    listen = environment.events
    if isinstance(runner, MasterRunner):
        _Workers(runner, live).listen(environment)
    if crew:
        listen.test_stopping.add_listener(lambda **_: live.add(crew.take_unreported()))

    def restart(**_: object) -> None:
        one_load = options.arrival_rate and not is_of_blocks(options)
        live.restart(time.monotonic(), most_lag_ms=options.most_lag_ms if one_load else None)

    def on_stopping(**_: object) -> None:
        live.tick(time.monotonic())
        _judge(environment, live)
        _settle_exit_code(environment, live)

    def on_quitting(**_: object) -> None:
        # Locust settles its exit status before it stops what a signal has ended.
        if crew:
            live.add(crew.take_unreported())
        _settle_exit_code(environment, live)

    def on_quit(**_: object) -> None:
        for line in live.table():
            console_logger.info(line)
        _write(options, live, began_s)

    listen.test_start.add_listener(restart)
    listen.reset_stats.add_listener(restart)
    listen.test_stopping.add_listener(on_stopping)
    listen.quitting.add_listener(on_quitting)
    listen.quit.add_listener(on_quit)
    gevent.spawn(_tick_forever, runner, live, crew, options)
    if environment.web_ui:
        add_tab(environment.web_ui, live, options.web_base_path)
    return live


def _judge(environment: Environment, live: Live) -> None:
    """Say of a run that stops what was checked, and whether it met its objective, if it has one."""
    options = environment.parsed_options
    checked = f"{live.total.checked:,} answers were compared with"
    if not options.check_share:
        live.notes.append("no sequence was compared with another call of the same read")
    elif options.expected:
        live.notes.append(f"{checked} {options.expected}, or the first one where that lacks the read")
    else:
        live.notes.append(f"{checked} the first one for the same read, for want of --expected calls")
    if _has_objective(options) and not live.client_limited:
        p99_ms = live.total.request_quantile_ms(0.99)
        said = "nothing was sent" if p99_ms is None else f"the p99 of all requests is {p99_ms:,.1f} ms"
        word = "missed" if _misses(options, live) else "met"
        live.notes.append(f"objective {word}: {said}, {options.slo_p99_ms:g} ms are allowed")


def _has_objective(options: Namespace) -> bool:
    return bool(options.slo_p99_ms and options.arrival_rate and not is_of_blocks(options))


def _misses(options: Namespace, live: Live) -> bool:
    p99_ms = live.total.request_quantile_ms(0.99)
    return p99_ms is None or p99_ms > options.slo_p99_ms


def _settle_exit_code(environment: Environment, live: Live) -> None:
    """Make locust fail where its client was the limit, or an objective was missed."""
    options = environment.parsed_options
    if live.client_limited or (_has_objective(options) and _misses(options, live)):
        environment.process_exit_code = EXIT_FAILED


def _write(options: Namespace, live: Live, began_s: float) -> None:
    """Write the files that go with those of locust."""
    if options.csv_prefix:
        write_csv(live, options.csv_prefix)
    if options.json_file:
        write_json(live, File(options.json_file))
    if options.html_file:
        extend_html(live, File(options.html_file), began_s)
    if options.json:
        print_json(live)


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


def _tick_forever(runner: Runner, live: Live, crew: Crew | None, options: Namespace) -> None:
    printing = not options.only_summary and (options.print_stats or options.headless)
    history = HistoryFile(options.csv_prefix) if options.csv_prefix else None
    while True:
        gevent.sleep(CONSOLE_STATS_INTERVAL_SEC)
        if runner.state in (STATE_SPAWNING, STATE_RUNNING):
            if crew:
                live.add(crew.take_unreported())
            live.tick(time.monotonic())
            if history:
                history.append(time.time(), live.last())
            if printing:
                console_logger.info(live.line())
                console_logger.info("")


def add_tab(web_ui: WebUI, live: Live, base_path: str) -> None:
    """Add a tab with the figures of `live`, refreshed with locust's own."""
    web_ui.template_args["extended_tabs"] = [{"title": "Bases per second", "key": TAB}]
    columns = {"of": "", **{name: TITLES[name] for name in COLUMNS}}
    web_ui.template_args["extended_tables"] = [
        {"key": TAB, "structure": [{"key": key, "title": title} for key, title in columns.items()]}
    ]
    page = base_path + "/"
    figures_url = f"{base_path}/{TAB}/figures"

    def extend(response: flask.Response) -> flask.Response:
        path = flask.request.path
        if path.endswith("/stats/requests") and response.is_json:
            figures = {**response.get_json(), "extended_stats": [{"key": TAB, "data": live.rows()}]}
            response.set_data(flask.json.dumps(figures))
        elif response.mimetype == "text/html" and response.status_code == HTTPStatus.OK:
            if path == page:
                with_tab = with_charts(
                    response.get_data(as_text=True), None, figures_url=figures_url, tab=TAB
                )
                response.set_data(with_tab)
            elif path.endswith("/stats/report"):
                response.set_data(with_charts(response.get_data(as_text=True), live.document()))
        return response

    def figures() -> flask.Response:
        return flask.Response(as_json(live), mimetype="application/json")

    web_ui.app.after_request(extend)
    web_ui.app.add_url_rule(figures_url, "fiveways_figures", web_ui.auth_required_if_enabled(figures))
