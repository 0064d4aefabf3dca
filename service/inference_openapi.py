"""What /docs and /openapi.json say of inference in the Open Inference Protocol."""

from typing import Any

from service import errors
from service.inference import BINARY, JSON, JSON_LENGTH, OUTPUTS, SIGNAL
from service.job import Priority

REQUEST = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string", "description": "Comes back in the answer."},
        "parameters": {
            "type": "object",
            "description": "`read_id`, `sample_rate`, `offset`, `scale`; `binary_data_output`.",
        },
        "inputs": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "type": "object",
                "required": ["name", "shape", "datatype", "data"],
                "properties": {
                    "name": {"type": "string", "enum": [SIGNAL]},
                    "shape": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
                    "datatype": {"type": "string", "enum": ["INT16"]},
                    "data": {"type": "array", "items": {"type": "integer"}, "minItems": 1},
                },
            },
        },
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string", "enum": list(OUTPUTS)}},
            },
        },
    },
}
REQUEST_EXAMPLE = {
    "id": "example",
    "parameters": {"sample_rate": 4000},
    "inputs": [{"name": SIGNAL, "shape": [4], "datatype": "INT16", "data": [512, 498, 530, 541]}],
    "outputs": [{"name": "SEQUENCE"}, {"name": "QSTRING"}],
}
ANSWER = {
    "type": "object",
    "required": ["model_name", "model_version", "outputs"],
    "properties": {
        "id": {"type": "string"},
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "outputs": {
            "type": "array",
            "items": {"type": "object", "required": ["name", "datatype", "shape"]},
        },
    },
}
ANSWER_EXAMPLE = {
    "id": "example",
    "model_name": "r9.4.1_fast@v3",
    "model_version": "1",
    "outputs": [
        {"name": "SEQUENCE", "datatype": "BYTES", "shape": [1], "data": ["ACGT"]},
        {"name": "QSTRING", "datatype": "BYTES", "shape": [1], "data": ["5555"]},
    ],
}
ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}


def inference_path(operation: str) -> dict[str, Any]:
    """Return the path item of inference."""
    statuses = sorted({kind.status for kind in errors.kinds()})
    return {
        "post": {
            "tags": ["open inference protocol"],
            "summary": "Call one read",
            "description": f"The tensor {SIGNAL} in, {', '.join(OUTPUTS)} out; binary tensors too.",
            "operationId": operation,
            "security": [{}, {"token": []}],
            "parameters": [
                {
                    "name": "model",
                    "in": "path",
                    "required": True,
                    "schema": {"type": "string"},
                    "example": "r9.4.1_fast@v3",
                },
                {
                    "name": JSON_LENGTH,
                    "in": "header",
                    "description": "How many bytes of the body are JSON, where a binary tensor follows it.",
                    "schema": {"type": "integer", "minimum": 1},
                },
                *wishes(),
            ],
            "requestBody": {"required": True, "content": _bodies()},
            "responses": {"200": _answer(), **dict.fromkeys(map(str, statuses), _error())},
        }
    }


def wishes() -> list[dict[str, Any]]:
    """Return the headers that every request for a call may have."""
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
    head = '{"inputs":[{"name":"SIGNAL","shape":[2],"datatype":"INT16","parameters":{"binary_data_size":4}}]}'
    return {
        JSON: {"schema": REQUEST, "example": REQUEST_EXAMPLE},
        BINARY: {
            "schema": {"type": "string", "format": "binary"},
            "examples": {
                "tensor": {
                    "summary": f"JSON of {len(head)} bytes, as {JSON_LENGTH} says, and two samples.",
                    "value": head + "\x00\x02\x10\x01",
                }
            },
        },
    }


def _answer() -> dict[str, Any]:
    return {
        "description": "The outputs that were asked for, or all.",
        "headers": {
            "Server-Timing": {
                "description": "receive, queue, compute, decode and total, in ms.",
                "schema": {"type": "string"},
            },
        },
        "content": {
            JSON: {"schema": ANSWER, "example": ANSWER_EXAMPLE},
            BINARY: {
                "schema": {"type": "string", "format": "binary"},
                "example": "the same, and the outputs that were wanted as binary after it",
            },
        },
    }


def _error() -> dict[str, Any]:
    example = {"error": "the inputs are to be one tensor, SIGNAL; parameters say the rest"}
    return {"description": "Why not.", "content": {JSON: {"schema": ERROR, "example": example}}}
