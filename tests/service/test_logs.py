"""Logs: one line of JSON an event, whatever it says."""

import json
import logging

from service.logs import JsonFormatter


def line_of(**options: object) -> dict[str, object]:
    record = logging.makeLogRecord({"name": "service.test", "levelname": "INFO", **options})
    text = JsonFormatter().format(record)
    assert "\n" not in text
    parsed: dict[str, object] = json.loads(text)
    return parsed


def test_an_event_says_when_how_grave_who_and_what_about() -> None:
    line = line_of(msg="model %s", args=("proven",), model="tiny", devices=("cpu",), created=0.5)
    assert line == {
        "time": "1970-01-01T00:00:00.500+00:00",
        "level": "info",
        "logger": "service.test",
        "event": "model proven",
        "model": "tiny",
        "devices": ["cpu"],
    }


def test_an_exception_stays_in_its_line() -> None:
    error = ValueError("two\nlines")
    line = line_of(msg="failed", exc_info=(type(error), error, None))
    assert line["exception"] == "ValueError: two\nlines"


def test_what_json_does_not_know_is_written_as_text() -> None:
    assert line_of(msg="m", about=ValueError("x"))["about"] == "x"
