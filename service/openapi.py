"""What /docs and /openapi.json say of the endpoints that read their own query, headers and body."""

from typing import Any

from reads import wire
from service import errors
from service.answers import ARROW, FASTQ, JSON, NDJSON, SAM
from service.dialect import PROBLEM_TYPE, V1, V2, VERSIONED_ROUTE
from service.inference_openapi import inference_path, wishes
from service.request import HEADERS

PARAMETERS = {
    "model": (
        "The model to call with; the default one where it is not said.",
        {"type": "string"},
        "r9.4.1_fast@v3",
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
REFUSED = {
    "type": "object",
    "required": ["read_id", "error"],
    "properties": {
        "read_id": {"type": "string"},
        "error": {
            "type": "object",
            "description": "The problem that the read would have been refused with alone.",
            "required": ["type", "title", "status", "detail"],
        },
    },
}
REFUSED_EXAMPLE = {
    "read_id": "another",
    "error": {
        "type": "urn:fiveways:problem:impossible-request",
        "title": "The request cannot be called",
        "status": 422,
        "detail": "the signal is empty",
    },
}
DESCRIPTION = """Signal in, bases and qualities out. Parameters go in the query or in headers.

A body of many reads (Arrow, fast5, pod5) says all of each read itself; of the parameters, it takes `model`
alone. Its answer is a stream: each read's record is sent when it is called, in that order, and there is one
record a read. A read that cannot be called costs no other. Its record says why: `error` in JSON (an array, a
record a line) and NDJSON; the columns `status` and `error` in Arrow; in SAM flags 516, and in FASTQ no bases,
both with a tag `er:Z:STATUS DETAIL`. What is lost of a damaged file is one such record, which is named after
the request. Where no read can be called at all, the whole request is refused with 400, 413 or 422.
"""
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


def document(described: dict[str, Any]) -> dict[str, Any]:
    """Return what FastAPI found out by itself, with what it cannot see."""
    _forget_validation(described)
    described["paths"] |= {
        V1.route: _basecall_path(),
        V2.route: inference_path("infer"),
        VERSIONED_ROUTE: inference_path("infer_version"),
    }
    described.setdefault("components", {})["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "Where the service was given a file of tokens.",
        }
    }
    return described


def _forget_validation(described: dict[str, Any]) -> None:
    """Drop the answer that FastAPI describes for parameters that are invalid: no text is, for these."""
    for path in described["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    schemas = described.get("components", {}).get("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)


def _basecall_path() -> dict[str, Any]:
    return {
        "post": {
            "tags": ["basecalling"],
            "summary": "Call one read, or many",
            "description": DESCRIPTION,
            "operationId": "basecall",
            "security": [{}, {"token": []}],
            "parameters": [*_parameters(), *wishes()],
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


def _bodies() -> dict[str, Any]:
    return {
        wire.ARROW_STREAM: _file(
            wire.ARROW_STREAM,
            "reads.arrows",
            "An Arrow IPC stream of many reads, one a row. Columns: `read_id` utf8, `signal` list<int16>, "
            "`offset`, `scale` and `sample_rate` double. Or `signal` binary, as pod5 compresses it (VBZ), "
            "and `samples` int64.",
        ),
        wire.HDF5: _file(wire.HDF5, "reads.fast5", "The bytes of a fast5 file, of one read or many."),
        wire.POD5: _file(wire.POD5, "reads.pod5", "The bytes of a pod5 file."),
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


def _file(media_type: str, name: str, what: str) -> dict[str, Any]:
    curl = f"curl --data-binary @{name} -H 'Content-Type: {media_type}' http://localhost:8000/v1/basecall"
    value = wire.SIGNATURES[media_type].decode("latin-1") + "..."
    return {
        "schema": {"type": "string", "format": "binary", "description": what},
        "examples": {"curl": {"summary": curl, "description": what, "value": value}},
    }


def _call() -> dict[str, Any]:
    call = {
        "model": "r9.4.1_fast@v3",
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
            JSON: {
                "schema": {"oneOf": [CALL, {"type": "array", "items": {"oneOf": [CALL, REFUSED]}}]},
                "examples": {
                    "one": {"summary": "Of a body of one read.", "value": call},
                    "many": {"summary": "Of a body of many.", "value": [call, REFUSED_EXAMPLE]},
                },
            },
            NDJSON: {
                "schema": {"type": "string"},
                "example": '{"read_id":"example","sequence":"ACGT",...}\n{"read_id":...}\n',
            },
            ARROW: {
                "schema": {
                    "type": "string",
                    "format": "binary",
                    "description": "An Arrow IPC stream, a row a read: `read_id`, `status`, `error`, "
                    "`samples`, `sequence`, `qstring`, `mean_q`, `moves`, `stride`.",
                },
                "example": "\xff\xff\xff\xff...",
            },
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
