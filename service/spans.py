"""OpenTelemetry traces: a span a request, with its stages as spans below it; off unless OTEL_* asks for them.

The variables are those of the OpenTelemetry specification, read by its SDK: the endpoint, the sampler, the
service's name. The SDK is an extra, `otel`, and is imported when it is asked for.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from service.tracing import Begin, RequestSpan, Trace, begin_untraced

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
STAGES = ("receive", "queue", "compute", "decode")


class TracesError(Exception):
    """Traces are asked for and cannot be sent; the message says by what, and what would be right."""


@contextmanager
def traces(environment: Mapping[str, str]) -> Iterator[Begin]:
    """Yield how requests begin their spans; what is not sent yet is sent at the end. Raises TracesError."""
    asked = _asked(environment)
    if asked is None:
        yield begin_untraced
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - an extra
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise TracesError(f"{asked} asks for traces, which need: pip install 'fiveways[otel]'") from error
    about = {"service.version": version("fiveways")}
    said = environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if not environment.get("OTEL_SERVICE_NAME") and "service.name=" not in said:
        about["service.name"] = "fiveways"
    provider = TracerProvider(resource=Resource.create(about))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield Spans(provider.get_tracer("fiveways", version("fiveways"))).begin
    finally:
        provider.shutdown()


def _asked(environment: Mapping[str, str]) -> str | None:
    """Return the variable that asks for traces; None where none does."""
    exporter = environment.get("OTEL_TRACES_EXPORTER", "")
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or exporter == "none":
        return None
    if exporter not in {"", "otlp"}:
        raise TracesError(f"OTEL_TRACES_EXPORTER is {exporter!r}; it can be otlp or none")
    asked = next((name for name in ENDPOINTS if environment.get(name)), None)
    asked = asked or ("OTEL_TRACES_EXPORTER" if exporter else None)
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        protocol = environment.get(name, "http/protobuf")
        if asked and protocol != "http/protobuf":
            raise TracesError(f"{name} is {protocol!r}; it can be http/protobuf")
    return asked


class Spans:
    """Makes spans with a tracer of OpenTelemetry's."""

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer

    def begin(self, traceparent: str, route: str) -> RequestSpan:
        """Begin the span of a request to `route`, in the client's trace where it has one."""
        from opentelemetry import trace  # noqa: PLC0415 - an extra
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
            TraceContextTextMapPropagator,
        )

        parent = TraceContextTextMapPropagator().extract({"traceparent": traceparent})
        began_ns = time.time_ns()
        span = self._tracer.start_span(
            f"POST {route}",
            context=parent,
            kind=trace.SpanKind.SERVER,
            start_time=began_ns,
            attributes={"http.request.method": "POST", "http.route": route},
        )
        context = span.get_span_context()
        told = Trace(f"{context.trace_id:032x}", f"{context.span_id:016x}", f"{context.trace_flags:02x}")
        return _Span(told, self._tracer, span, began_ns)


@dataclass(frozen=True, slots=True, eq=False)
class _Span:
    """The span of one request."""

    trace: Trace
    tracer: Any
    span: Any
    began_ns: int

    def end(self, *, status: int, model: str, stage_s: Mapping[str, float]) -> None:
        """End it, and make those of the stages that the request has been through: one after the other."""
        from opentelemetry import trace  # noqa: PLC0415 - an extra

        self.span.set_attributes({"http.response.status_code": status, "fiveways.model": model})
        if status >= 500:
            self.span.set_status(trace.StatusCode.ERROR)
        within = trace.set_span_in_context(self.span)
        at_ns = self.began_ns
        for stage in STAGES:
            until_ns = at_ns + round(stage_s[stage] * 1e9)
            if until_ns > at_ns:
                below = self.tracer.start_span(stage, context=within, start_time=at_ns)
                below.end(until_ns)
            at_ns = until_ns
        self.span.end()
