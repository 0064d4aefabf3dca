"""Traces: a request goes on in its client's, or begins its own."""

import re

import pytest

from service.tracing import begin_trace

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


def test_a_client_s_trace_goes_on_in_a_span_of_its_own() -> None:
    trace = begin_trace(PARENT)
    assert (trace.trace_id, trace.flags) == (TRACE_ID, "01")
    assert trace.span_id != "00f067aa0ba902b7"
    assert trace.traceparent == f"00-{trace.trace_id}-{trace.span_id}-01"


@pytest.mark.parametrize(
    "not_a_parent",
    [
        "",
        "00-0-0-00",
        PARENT.upper(),
        "ff" + PARENT[2:],
        PARENT.replace(TRACE_ID, "0" * 32),
    ],
)
def test_without_one_a_new_trace_begins(not_a_parent: str) -> None:
    first, second = begin_trace(not_a_parent), begin_trace(not_a_parent)
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", first.traceparent)
    assert first.trace_id != second.trace_id
