"""The two ways in which this service is spoken to: our own v1, and the Open Inference Protocol, v2. Pure.

A dialect is how a request is read before its body is there, and how it is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass

import orjson
from starlette.types import Scope

from service.errors import Problem
from service.inference import JSON, VERSION
from service.request import Wanted, parse_inference, parse_request

PROBLEM_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where it is spoken; how to read what a request wants, which raises Problem; and the media type and the
    body of a refusal."""

    route: str
    parse: Callable[[Scope], Wanted]
    problem: Callable[[Problem, str], tuple[str, bytes]]


def _parse_v1(scope: Scope) -> Wanted:
    return parse_request(scope["query_string"], scope["headers"])


def _problem_document(problem: Problem, request_id: str) -> tuple[str, bytes]:
    return PROBLEM_TYPE, orjson.dumps(problem.document(request_id))


def _parse_v2(scope: Scope) -> Wanted:
    return parse_inference(scope["path_params"]["model"], scope["headers"])


def _error(problem: Problem, _: str) -> tuple[str, bytes]:
    return JSON, orjson.dumps({"error": problem.detail})


V1 = Dialect("/v1/basecall", _parse_v1, _problem_document)
V2 = Dialect("/v2/models/{model}/infer", _parse_v2, _error)
VERSIONED_ROUTE = f"/v2/models/{{model}}/versions/{VERSION}/infer"
"""The second route of V2."""
