"""Whatever the OpenAPI document allows, and much that it does not, is answered as the document says.

Every operation gets generated requests, good and bad; the seed is fixed. Bodies that no schema can describe
are made by our own writers, or are noise.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from live_service import WAIT_S, Running, random_signal, read_of, serving
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from reads import wire
from reads.arrow_stream import reads_to_stream
from service.answers import FORMS


def no_mistake_of_its_own(context: Any, response: Any, case: Any) -> None:
    """A deadline that cannot be met is no mistake of the service's, though its status is above 500."""
    assert response.status_code != 500, response.text


CHECKS = [
    no_mistake_of_its_own,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]
"""All but whether good requests are taken and bad ones refused: no schema can say which bytes are a file, or
which reads a model takes."""


def streams(vbz: bool) -> st.SearchStrategy[bytes]:
    lengths = st.lists(st.integers(0, 500), min_size=1, max_size=4)
    return lengths.map(
        lambda each: reads_to_stream(
            [read_of(random_signal(length), f"r{index}") for index, length in enumerate(each)], vbz=vbz
        )
    )


schemathesis.openapi.media_type(
    wire.ARROW_STREAM, streams(vbz=False) | streams(vbz=True) | st.binary(max_size=200)
)
schemathesis.openapi.media_type(
    wire.OCTET_STREAM, st.integers(1, 3000).map(lambda n: np.zeros(n, np.int16).tobytes()) | st.binary()
)
for begun in (wire.HDF5, wire.POD5):
    schemathesis.openapi.media_type(begun, st.binary(max_size=200).map(wire.SIGNATURES[begun].__add__))


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Running]:
    with serving() as one:
        yield one


@pytest.fixture(scope="module")
def api(fuzzed: Running) -> Any:
    with fuzzed.client() as client:
        document = client.get("/openapi.json").json()
    for path in document["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", []):
                # What is asked for is mostly there, so that requests come further than its name.
                if parameter["name"] == "model":
                    parameter["schema"] = {"type": "string", "enum": ["tiny", "null"]}
                if parameter["name"] == "version":
                    parameter["schema"] = {"type": "string", "enum": ["1"]}
                if parameter["name"] == "sample_rate":
                    parameter["schema"] = {"type": "number", "enum": [4000]}
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=fuzzed.url)
    return schema


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_operation_answers_as_it_is_described(api: Any, mode: GenerationMode) -> None:
    count = 0
    for operation in (found.ok() for found in api.get_all_operations()):

        @settings(
            max_examples=20,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode), accept=st.sampled_from([*FORMS, "*/*"]))
        def answers_as_described(case: Any, accept: str) -> None:
            case.call_and_validate(headers={"accept": accept}, checks=CHECKS, timeout=WAIT_S)

        # In the negative mode, an operation that takes nothing can be given nothing wrong.
        with suppress(Unsatisfiable):
            answers_as_described()
            count += 1
    assert count >= {GenerationMode.POSITIVE: 14, GenerationMode.NEGATIVE: 3}[mode]


def test_nothing_is_left_of_it(fuzzed: Running) -> None:
    assert fuzzed.service.lifecycle.requests == 0
    assert all(fuzzed.service.admission.backlog_samples(model) == 0 for model in fuzzed.service.models)
    with fuzzed.client() as client:
        assert client.get("/healthz").status_code == 200
        page = client.get("/metrics").text
    codes = {int(code) for code in re.findall(r'fiveways_requests_total{code="(\d+)"', page)}
    assert {200, 400, 404, 422} <= codes and 500 not in codes
