"""The application; and POST /v1/basecall in the order in which data goes through it:

request -> admit -> receive -> understand -> queue -> batch -> call -> answer. What goes wrong on the way is a
Problem, and the request is answered with it; or, where many reads are being answered, those that it concerns.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from reads.read import Read
from service.admission import Ticket
from service.answers import FORMS_OF_MANY, Answer, Record, Refusal
from service.body import ended_or_gone, outcome_or_gone, receive_body
from service.dialect import PROBLEM_TYPE, V1, V2, VERSIONED_ROUTE, Dialect
from service.errors import ClientGoneError, InternalError, Problem, SlowUploadError
from service.exchange import Exchange
from service.job import Job
from service.openapi import document
from service.request import Wanted
from service.served import ServedModel
from service.service import Service
from service.status import status_routes
from service.stream import AnswerStream
from service.understand import understand, unpack
from service.v2 import failure, v2_routes

logger = logging.getLogger(__name__)

CLIENT_GONE = 499
"""The status under which requests are counted whose client left."""
LARGE_BASES = 200_000
"""What is larger is written in the background, so that other requests are not held up."""


class Basecalls:
    """The endpoint, for one dialect: an ASGI application."""

    def __init__(self, service: Service, dialect: Dialect) -> None:
        self._service = service
        self._dialect = dialect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = dict(scope["headers"])
        traceparent = headers.get(b"traceparent", b"").decode("latin-1")
        span = self._service.begin_span(traceparent, self._dialect.route)
        exchange = Exchange(span.trace, self._dialect)
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
        span.end(status=status, model=exchange.model, stage_s=exchange.stage_s)
        self._count(exchange, status)

    async def _basecall(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        client = service.client(scope)
        wanted = self._dialect.parse(scope)
        service.check_open(scope)
        model = service.model(wanted.model)
        exchange.model = model.name
        wanted.check_bytes(wanted.body_bytes or 0, service.settings)
        if wanted.words.sample_rate is not None:
            model.check_sample_rate(wanted.words.sample_rate)
        async with service.lifecycle.request(wanted.within_s, lambda: service.backlog_s(model)) as limit:
            with service.admission.admit(
                model=model.name,
                client=client,
                priority=wanted.priority,
                samples=model.cost_samples(wanted.samples(wanted.body_bytes or 0)),
                samples_per_s=model.samples_per_s,
                within_s=wanted.within_s,
            ) as ticket:
                admitted = Admitted(service, exchange, wanted, model, ticket, limit, receive, send)
                body = await admitted.receive_body()
                if wanted.has_many:
                    await admitted.answer_many(body)
                else:
                    await admitted.answer_one(body)

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


@dataclass(frozen=True, slots=True, eq=False)
class Admitted:
    """A request that has its place: its body, its reads, their calls, its answer."""

    service: Service
    exchange: Exchange
    wanted: Wanted
    model: ServedModel
    ticket: Ticket
    limit: asyncio.Timeout
    receive: Receive
    send: Send

    async def receive_body(self) -> bytearray:
        """Return the body, which is refused on the way where it becomes too long."""
        upload_s = self.service.settings.upload_s

        def grow(body_bytes: int) -> None:
            self.wanted.check_bytes(body_bytes, self.service.settings)
            self._resize(self.wanted.samples(body_bytes))

        limit = asyncio.timeout(upload_s)
        try:
            async with limit:
                return await receive_body(self.receive, announced_bytes=self.wanted.body_bytes, grow=grow)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise SlowUploadError(f"the whole body is to arrive within {upload_s:g} s") from error

    async def answer_one(self, body: bytearray) -> None:
        """Answer a body of one read with its call."""
        service, exchange, model = self.service, self.exchange, self.model
        read, form = await understand(service, self.wanted, model, body, exchange.read_id)
        exchange.stage_s["receive"] = exchange.elapsed_s
        self._resize(len(read.signal))
        queued_s = time.monotonic()
        job = self._submit(read)
        call = await outcome_or_gone(job.outcome, self.receive)
        exchange.stage_s |= _stages(job, queued_s)
        answer = Answer(model.name, read, call)
        large = len(call.sequence) > LARGE_BASES
        content, more = await service.run(form.whole, answer, in_background=large)
        # It is made, and will be sent whole, however long that takes.
        self.limit.reschedule(None)
        await exchange.answer(self.send, form.media_type, content, more)
        self._count(answer, exchange.timing_s)

    async def answer_many(self, body: bytearray) -> None:
        """Answer a body of many reads with their calls, each of them when it is done."""
        service, exchange, model = self.service, self.exchange, self.model
        unpacked = await unpack(service, self.wanted, model, body, exchange.read_id, self._resize)
        exchange.stage_s["receive"] = exchange.elapsed_s
        left_samples = sum(model.cost_samples(len(read.signal)) for read in unpacked.reads)
        self._resize(left_samples)
        form = FORMS_OF_MANY[self.wanted.answer_type]
        stream = AnswerStream(exchange, self.send, form, [read.read_id for read in unpacked.reads])
        queued_s = time.monotonic()
        jobs = [self._submit(read) for read in unpacked.reads]
        refusals: list[Record] = [*unpacked.refusals]
        async with aclosing(ended_or_gone(jobs, self.receive)) as ending:
            # From here on, only the jobs that are still to be called know their reads.
            del unpacked
            async for ended in ending:
                records, refusals = refusals + [_record(model.name, job) for job in ended], []
                bases = sum(len(record.call.sequence) for record in records if isinstance(record, Answer))
                content = await service.run(form.records, records, in_background=bases > LARGE_BASES)
                if not exchange.refuse_rest:
                    exchange.stage_s |= _stages(ended[0], queued_s)
                await stream.add(content, [job.read.read_id for job in ended])
                for job, record in zip(ended, records[-len(ended) :], strict=True):
                    if isinstance(record, Answer):
                        self._count(record, exchange.timing_s | _stages(job, queued_s))
                left_samples -= sum(job.cost_samples for job in ended)
                self._resize(left_samples)
        await stream.end()

    def _submit(self, read: Read) -> Job:
        return self.model.submit(read, priority=self.wanted.priority, arrived_s=self.exchange.began_s)

    def _resize(self, samples: int) -> None:
        self.service.admission.resize(self.ticket, self.model.cost_samples(samples))

    def _count(self, answer: Answer, stage_s: Mapping[str, float]) -> None:
        self.service.metrics.count_call(
            self.model.name,
            samples=len(answer.read.signal),
            bases=len(answer.call.sequence),
            stage_s=stage_s,
        )


def _record(model: str, job: Job) -> Record:
    """Return the record of a job that has ended."""
    error = job.outcome.exception()
    if error is None:
        return Answer(model, job.read, job.outcome.result())
    if isinstance(error, Problem):
        return Refusal(job.read.read_id, error)
    raise error


def _stages(job: Job, queued_s: float) -> dict[str, float]:
    """Return the stages of a job that has ended, and was queued at `queued_s`."""
    waited_s = time.monotonic() - queued_s
    # One read's batches may overlap, the next scored while the one before is decoded.
    queue_s = max(0.0, waited_s - job.compute_s - job.decode_s)
    return {"queue": queue_s, "compute": job.compute_s, "decode": job.decode_s}


def create_app(service: Service) -> ASGIApp:
    """Return the application of `service`: FastAPI's, but for calls of v1, which need nothing of it."""
    others, calls = _documented_app(service), Basecalls(service, V1)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        to = calls if scope["path"] == V1.route and scope["method"] == "POST" else others
        await to(scope, receive, send)

    return app


def _documented_app(service: Service) -> FastAPI:
    app = FastAPIOffline(
        redoc_url=None,
        title="fiveways",
        summary="Nanopore basecalling over HTTP",
        version=version("fiveways"),
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    app.router.routes += [
        Route(route, Basecalls(service, dialect), methods=["POST"])
        # V1's is here for what is said of other methods.
        for route, dialect in ((V1.route, V1), (V2.route, V2), (VERSIONED_ROUTE, V2))
    ]
    app.include_router(status_routes(service))
    app.include_router(v2_routes(service))
    app.add_exception_handler(HTTPException, _refusal)
    described = app.openapi

    def openapi() -> dict[str, Any]:
        return document(described())

    # As FastAPI's documentation has it.
    app.openapi = openapi  # type: ignore[method-assign]
    return app


async def _refusal(request: Request, error: Exception) -> Response:
    """Answer what has no route, or not that method, with a problem document as well."""
    if not isinstance(error, HTTPException):
        raise error
    detail = f"{request.method} {request.url.path} is not served here; /docs lists what is"
    if request.url.path.startswith("/v2"):
        return failure(error.status_code, detail)
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(error.status_code).phrase,
        "status": error.status_code,
        "detail": detail,
    }
    return JSONResponse(problem, error.status_code, error.headers, PROBLEM_TYPE)
