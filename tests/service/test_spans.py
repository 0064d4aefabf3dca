"""OpenTelemetry: a span a request and one a stage, sent where the standard variables say."""

import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from typing import Any

import httpx
import pytest
from live_service import WAIT_S, Running, random_signal, serving, wait_for
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from service.spans import Spans, TracesError, traces
from service.tracing import begin_untraced

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


@pytest.fixture(scope="module")
def traced() -> Iterator[tuple[Running, InMemorySpanExporter]]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with serving() as running:
        running.service.begin_span = Spans(provider.get_tracer("test")).begin
        yield running, exporter


def finished(exporter: InMemorySpanExporter, requests: int) -> tuple[Any, ...]:
    """The spans, once there are those of so many requests: they end when the answer is sent already."""
    ended = exporter.get_finished_spans
    wait_for(lambda: sum(span.kind is SpanKind.SERVER for span in ended()) == requests)
    return ended()


def test_a_request_is_a_span_with_its_stages_below_it(
    traced: tuple[Running, InMemorySpanExporter],
) -> None:
    running, exporter = traced
    exporter.clear()
    response = running.call(random_signal(5000), headers={"traceparent": PARENT})
    *stages, root = finished(exporter, 1)
    assert [stage.name for stage in stages] == ["receive", "queue", "compute", "decode"]
    assert root.name == "POST /v1/basecall" and root.kind is SpanKind.SERVER
    assert root.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/basecall",
        "http.response.status_code": 200,
        "fiveways.model": "tiny",
    }
    ids = {f"{span.context.trace_id:032x}" for span in (root, *stages)}
    assert ids == {TRACE_ID} and f"{root.parent.span_id:016x}" == "00f067aa0ba902b7"
    assert {stage.parent.span_id for stage in stages} == {root.context.span_id}
    for before, after in pairwise(stages):
        assert before.end_time == after.start_time
    assert root.start_time == stages[0].start_time and stages[-1].end_time <= root.end_time
    assert response.headers["traceparent"] == f"00-{TRACE_ID}-{root.context.span_id:016x}-01"


def test_a_refusal_is_a_span_and_what_we_cannot_do_an_error(
    traced: tuple[Running, InMemorySpanExporter],
) -> None:
    running, exporter = traced
    exporter.clear()
    assert running.call(random_signal(0)).status_code == 400
    assert running.call(random_signal(900), headers={"x-deadline-ms": "0.0001"}).status_code == 504
    refused, late = (span for span in finished(exporter, 2) if span.kind is SpanKind.SERVER)
    assert refused.attributes["http.response.status_code"] == 400
    assert (refused.status.status_code, late.status.status_code) == (StatusCode.UNSET, StatusCode.ERROR)


def test_what_a_client_writes_is_no_name_of_a_span(traced: tuple[Running, InMemorySpanExporter]) -> None:
    running, exporter = traced
    exporter.clear()
    assert httpx.post(f"{running.url}/v2/models/surprise/infer", content=b"{}").status_code == 404
    (span,) = finished(exporter, 1)
    assert span.name == "POST /v2/models/{model}/infer"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_SERVICE_NAME": "mine"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://here", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://here", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_nothing_is_traced_unless_it_is_asked_for(environment: dict[str, str]) -> None:
    with traces(environment) as begin:
        assert begin is begin_untraced


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "otlp or none"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'; it can be http/protobuf",
        ),
    ],
)
def test_what_cannot_be_done_is_refused(environment: dict[str, str], said: str) -> None:
    with pytest.raises(TracesError, match=said), traces(environment):
        pass


def test_without_the_extra_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with (
        pytest.raises(TracesError, match=r"OTEL_TRACES_EXPORTER asks .* pip install 'fiveways\[otel\]'"),
        traces({"OTEL_TRACES_EXPORTER": "otlp"}),
    ):
        pass


def test_spans_are_sent_to_the_collector_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[ExportTraceServiceRequest] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ExitStack() as stack:
        collector = stack.enter_context(HTTPServer(("127.0.0.1", 0), Collector))
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        stack.callback(thread.join, WAIT_S)
        stack.callback(collector.shutdown)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "floor-3")
        with traces({"OTEL_EXPORTER_OTLP_ENDPOINT": "set", "OTEL_SERVICE_NAME": "floor-3"}) as begin:
            span = begin(PARENT, "/v1/basecall")
            stage_s = {"receive": 0.1, "queue": 0.0, "compute": 0.2, "decode": 0.1}
            span.end(status=200, model="tiny", stage_s=stage_s)
    (resource_spans,) = received[0].resource_spans
    about = {one.key: one.value.string_value for one in resource_spans.resource.attributes}
    assert about["service.name"] == "floor-3" and about["service.version"]
    names = [span.name for span in resource_spans.scope_spans[0].spans]
    assert names == ["receive", "compute", "decode", "POST /v1/basecall"]
