"""What /docs and /openapi.json say of POST /v1/basecall, which reads its own query, headers and body."""

from typing import Any

from reads import wire
from service import errors
from service.answers import FASTQ, JSON, SAM
from service.dialect import PROBLEM_TYPE
from service.job import Priority
from service.request import HEADERS

PARAMETERS = {
    "model": (
        "The model to call with; the default one where it is not said.",
        {"type": "string"},
        "r9.4.1_fast@v1",
    ),
    "read_id": (
        "The read's name, which its answer carries; the request's id where it is not said.",
        {"type": "string", "pattern": f"^{wire.READ_ID.pattern}$"},
        "8f0b1a52-7f2d-4b6e-9a53-0d3a2f0f9b11",
    ),
    "sample_rate": (
        "Samples a second [Hz]; the model's own where it is not said.",
        {"type": "number", "exclusiveMinimum": 0},
        4000,
    ),
    "offset": ("Of the calibration: pA = (sample + offset) * scale.", {"type": "number", "default": 0}, 6),
    "scale": (
        "Of the calibration: pA = (sample + offset) * scale.",
        {"type": "number", "exclusiveMinimum": 0, "default": 1},
        0.177,
    ),
}
"""What it is, its schema, and an example."""

JSON_BODY = {
    "type": "object",
    "required": ["signal"],
    "additionalProperties": False,
    "properties": {
        "signal": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "integer", "minimum": -(2**15), "maximum": 2**15 - 1},
        },
        **{name: schema for name, (_, schema, _) in PARAMETERS.items() if name != "model"},
    },
}
CALL = {
    "type": "object",
    "required": ["model", "read_id", "samples", "bases", "sequence", "qstring", "mean_q"],
    "properties": {
        "model": {"type": "string"},
        "read_id": {"type": "string"},
        "samples": {"type": "integer", "description": "Samples of the read."},
        "bases": {"type": "integer", "description": "Bases of the sequence."},
        "sequence": {"type": "string", "pattern": "^[ACGT]*$"},
        "qstring": {"type": "string", "description": "Phred+33, one character a base."},
        "mean_q": {"type": "number", "description": "The Phred score of the mean error probability."},
    },
}
PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong, and what would be right."},
        "request_id": {"type": "string", "description": "The trace id of traceparent."},
    },
}


def basecall_path() -> dict[str, Any]:
    """Return the path item of /v1/basecall."""
    return {
        "post": {
            "tags": ["basecalling"],
            "summary": "Call one read",
            "description": "Signal in, bases and qualities out. Parameters go in the query or in headers.",
            "operationId": "basecall",
            "parameters": [*_parameters(), *_wishes()],
            "requestBody": {"required": True, "content": _bodies()},
            "responses": {"200": _call(), **_problems()},
        }
    }


def _parameters() -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "description": f"{what} Or header {HEADERS[name]}.", "schema": schema}
        | {"example": example}
        for name, (what, schema, example) in PARAMETERS.items()
        if name != "model"
    ] + [
        {
            "name": "model",
            "in": "query",
            "description": PARAMETERS["model"][0],
            "schema": PARAMETERS["model"][1],
        }
    ]


def _wishes() -> list[dict[str, Any]]:
    priorities = [priority.name.lower() for priority in Priority]
    return [
        {
            "name": "X-Priority",
            "in": "header",
            "description": "Who goes first; nobody is kept waiting for ever.",
            "schema": {"type": "string", "enum": priorities, "default": "normal"},
        },
        {
            "name": "X-Deadline-Ms",
            "in": "header",
            "description": "When the answer is of no use any more. Refused at once where it cannot be met.",
            "schema": {"type": "number", "exclusiveMinimum": 0},
        },
        {
            "name": "traceparent",
            "in": "header",
            "description": "W3C Trace Context; its trace id is the request's id in logs and problems.",
            "schema": {"type": "string"},
        },
    ]


def _bodies() -> dict[str, Any]:
    return {
        wire.OCTET_STREAM: {
            "schema": {"type": "string", "format": "binary", "minLength": wire.SAMPLE_BYTES},
            "examples": {
                "signal": {
                    "summary": "Little-endian int16 samples, nothing else.",
                    "value": "\x00\x02\xf2\x01",
                }
            },
        },
        wire.JSON: {
            "schema": JSON_BODY,
            "example": {"read_id": "example", "signal": [512, 498, 530, 541], "sample_rate": 4000},
        },
    }


def _call() -> dict[str, Any]:
    call = {
        "model": "r9.4.1_fast@v1",
        "read_id": "example",
        "samples": 36,
        "bases": 4,
        "sequence": "ACGT",
        "qstring": "5555",
        "mean_q": 20.0,
    }
    return {
        "description": "The basecall.",
        "headers": {
            "Server-Timing": {
                "description": "receive, queue, compute, decode and total, in ms.",
                "schema": {"type": "string"},
            },
            "traceparent": {"description": "The request's trace.", "schema": {"type": "string"}},
        },
        "content": {
            JSON: {"schema": CALL, "example": call},
            FASTQ: {"schema": {"type": "string"}, "example": "@example\tqs:f:20\nACGT\n+\n5555\n"},
            SAM: {
                "schema": {"type": "string"},
                "example": "example\t4\t*\t0\t0\t*\t*\t0\t0\tACGT\t5555\tqs:f:20\n",
            },
        },
    }


def _problems() -> dict[str, Any]:
    """Return every answer that is a problem, one for each status."""
    titles: dict[int, list[str]] = {}
    for kind in errors.kinds():
        titles.setdefault(kind.status, []).append(kind.title)
    return {
        str(status): {"description": ", or ".join(of_status), "content": {PROBLEM_TYPE: {"schema": PROBLEM}}}
        for status, of_status in sorted(titles.items())
    }
