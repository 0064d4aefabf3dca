"""The application; and POST /v1/basecall in the order in which data goes through it:

request -> admit -> receive -> queue -> batch -> call -> answer. What goes wrong on the way is a Problem, and
the request is answered with it.
"""

import asyncio
import logging
import time
from dataclasses import asdict
from http import HTTPStatus
from importlib.metadata import version
from typing import Any
from uuid import UUID

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from models.basecall import Basecall
from reads import wire
from reads.read import Calibration, Read, Signal
from service.admission import Ticket
from service.answers import FORMS, Answer
from service.body import outcome_or_gone, receive_body
from service.errors import (
    ClientGoneError,
    InternalError,
    MalformedRequestError,
    Problem,
    SlowUploadError,
)
from service.exchange import PROBLEM_TYPE, Exchange
from service.openapi import basecall_path
from service.request import Wanted, as_problem, parse_request
from service.served import ServedModel
from service.service import Service
from service.status import status_routes
from service.tracing import begin_trace

logger = logging.getLogger(__name__)

CLIENT_GONE = 499
"""The status under which requests are counted whose client left."""
LARGE_JSON_BYTES = 64 * 1024
LARGE_BASES = 50_000
"""What is larger is read or written in the background, so that other requests are not held up."""


class Basecalls:
    """The endpoint: an ASGI application."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = dict(scope["headers"])
        exchange = Exchange(begin_trace(headers.get(b"traceparent", b"").decode("latin-1")))
        status = 200
        try:
            await self._basecall(exchange, scope, receive, send)
        except ClientGoneError:
            status = CLIENT_GONE
        except Problem as problem:
            status = problem.status
            await exchange.refuse(send, problem)
        except Exception:
            status = InternalError.status
            logger.exception("request failed", extra={"request_id": exchange.trace.trace_id})
            await exchange.refuse(send, InternalError("this should not happen; the log says what did"))
        self._count(exchange, status)

    async def _basecall(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        client = service.client(scope)
        wanted = parse_request(scope["query_string"], scope["headers"])
        service.check_open(scope)
        model = service.model(wanted.model)
        exchange.model = model.name
        wanted.check_bytes(wanted.body_bytes or 0, service.settings.max_read_samples)
        if wanted.words.sample_rate is not None:
            model.check_sample_rate(wanted.words.sample_rate)
        async with service.lifecycle.request(wanted.within_s, lambda: service.backlog_s(model)) as limit:
            with service.admission.admit(
                model=model.name,
                client=client,
                priority=wanted.priority,
                samples=model.cost_samples((wanted.body_bytes or 0) // wire.SAMPLE_BYTES),
                samples_per_s=model.samples_per_s,
                within_s=wanted.within_s,
            ) as ticket:
                body = await self._receive(wanted, model, ticket, receive)
                read = await self._understand(exchange, wanted, model, body)
                service.admission.resize(ticket, model.cost_samples(len(read.signal)))
                call = await self._call(exchange, wanted, model, read, receive)
                answer = await self._write(wanted, Answer(model.name, read, call))
                # It is made, and will be sent whole, however long that takes.
                limit.reschedule(None)
                await exchange.answer(send, wanted.answer_type, answer)
                service.metrics.count_call(
                    model.name,
                    samples=len(read.signal),
                    bases=len(call.sequence),
                    stage_s=exchange.timing_s,
                )

    async def _receive(
        self, wanted: Wanted, model: ServedModel, ticket: Ticket, receive: Receive
    ) -> bytearray:
        settings = self._service.settings

        def grow(body_bytes: int) -> None:
            wanted.check_bytes(body_bytes, settings.max_read_samples)
            cost_samples = model.cost_samples(body_bytes // wire.SAMPLE_BYTES)
            self._service.admission.resize(ticket, cost_samples)

        limit = asyncio.timeout(settings.upload_s)
        try:
            async with limit:
                return await receive_body(receive, announced_bytes=wanted.body_bytes, grow=grow)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise SlowUploadError(f"the whole body is to arrive within {settings.upload_s:g} s") from error

    async def _understand(
        self, exchange: Exchange, wanted: Wanted, model: ServedModel, body: bytearray
    ) -> Read:
        words = wanted.words
        try:
            if wanted.body_type == wire.JSON:
                large = len(body) > LARGE_JSON_BYTES
                signal, said = await self._service.run(wire.read_from_json, body, in_background=large)
                words = _joined(words, said)
                if said.sample_rate is not None:
                    model.check_sample_rate(said.sample_rate)
            else:
                signal = wire.signal_from_bytes(body)
        except wire.WireError as error:
            raise as_problem(error) from error
        exchange.stage_s["receive"] = exchange.elapsed_s
        return _read(exchange, words, signal, model)

    async def _call(
        self, exchange: Exchange, wanted: Wanted, model: ServedModel, read: Read, receive: Receive
    ) -> Basecall:
        queued_s = time.monotonic()
        job = model.submit(read, priority=wanted.priority, arrived_s=exchange.began_s)
        call = await outcome_or_gone(job.outcome, receive)
        waited_s = time.monotonic() - queued_s
        # One read's batches may overlap, the next scored while the one before is decoded.
        queue_s = max(0.0, waited_s - job.compute_s - job.decode_s)
        exchange.stage_s |= {"queue": queue_s, "compute": job.compute_s, "decode": job.decode_s}
        return call

    async def _write(self, wanted: Wanted, answer: Answer) -> bytes:
        large = len(answer.call.sequence) > LARGE_BASES
        return await self._service.run(FORMS[wanted.answer_type], answer, in_background=large)

    def _count(self, exchange: Exchange, status: int) -> None:
        self._service.metrics.count_request(status, exchange.model)
        # Refusals come by the thousand when there is too much work: counting is enough.
        level = logging.INFO if status in {401, 408, 500} else logging.DEBUG
        if logger.isEnabledFor(level):
            told = {name: round(seconds * 1e3, 3) for name, seconds in exchange.timing_s.items()}
            logger.log(
                level,
                "request ended",
                extra={
                    "request_id": exchange.trace.trace_id,
                    "status": status,
                    "model": exchange.model,
                    "timing_ms": told,
                },
            )


def _joined(words: wire.ReadWords, said: wire.ReadWords) -> wire.ReadWords:
    """Return what a query and a JSON body say of a read; MalformedRequestError where both say the same."""
    before = {word: value for word, value in asdict(words).items() if value is not None}
    in_body = {word: value for word, value in asdict(said).items() if value is not None}
    if twice := sorted(before.keys() & in_body.keys()):
        raise MalformedRequestError(f"given in the body and before it: {', '.join(twice)}; give it once")
    return wire.ReadWords(**before, **in_body)


def _read(exchange: Exchange, words: wire.ReadWords, signal: Signal, model: ServedModel) -> Read:
    """Return the read of a request: unnamed, it is named after the request."""
    return Read(
        read_id=words.read_id or str(UUID(hex=exchange.trace.trace_id)),
        signal=signal,
        calibration=Calibration(offset=words.offset or 0.0, scale=words.scale or 1.0),
        sample_rate=words.sample_rate or model.sample_rate,
    )


def create_app(service: Service) -> FastAPI:
    """Return the application of `service`."""
    app = FastAPI(
        title="fiveways",
        summary="Nanopore basecalling over HTTP",
        version=version("fiveways"),
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    app.router.routes.append(Route("/v1/basecall", Basecalls(service), methods=["POST"]))
    app.include_router(status_routes(service))
    app.add_exception_handler(HTTPException, _refusal)
    described = app.openapi

    def openapi() -> dict[str, Any]:
        document = described()
        document["paths"]["/v1/basecall"] = basecall_path()
        return document

    # As FastAPI's documentation has it.
    app.openapi = openapi  # type: ignore[method-assign]
    return app


async def _refusal(request: Request, error: Exception) -> Response:
    """Answer what has no route, or not that method, with a problem document as well."""
    if not isinstance(error, HTTPException):
        raise error
    document = {
        "type": "about:blank",
        "title": HTTPStatus(error.status_code).phrase,
        "status": error.status_code,
        "detail": f"{request.method} {request.url.path} is not served here; /docs lists what is",
    }
    return JSONResponse(document, error.status_code, error.headers, PROBLEM_TYPE)
