"""The Open Inference Protocol: Triton's own client, unmodified; and the bytes themselves."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_service import Running, expected_sequence, random_signal, read_of, serving
from tritonclient import http as triton
from tritonclient.utils import InferenceServerException

from models.basecall import Basecall
from reads.wire import WireError
from service.answers import Answer
from service.errors import Problem
from service.inference import OUTPUTS, understand_inference


@pytest.fixture
def client(running: Running) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{running.port}") as one:
        yield one


def tensor(signal: Any, *, binary: bool = True, shape: list[int] | None = None) -> Any:
    signal_in = triton.InferInput("SIGNAL", shape or [len(signal)], "INT16")
    signal_in.set_data_from_numpy(signal.reshape(shape or [len(signal)]), binary_data=binary)
    return signal_in


def test_triton_s_client_finds_the_server_and_its_models(client: Any) -> None:
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("tiny")
    assert client.is_model_ready("tiny", "1")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = client.get_model_metadata("tiny")
    assert metadata["inputs"] == [{"name": "SIGNAL", "datatype": "INT16", "shape": [-1]}]
    assert [output["name"] for output in metadata["outputs"]] == ["SEQUENCE", "QSTRING", "MEAN_Q", "MOVES"]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_triton_s_client_gets_calls(client: Any, binary_in: bool, binary_out: bool) -> None:
    signal = random_signal(1230)
    outputs = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in OUTPUTS]
    result = client.infer("tiny", [tensor(signal, binary=binary_in)], outputs=outputs, request_id="r7")
    (sequence,) = result.as_numpy("SEQUENCE")
    text = sequence.decode() if isinstance(sequence, bytes) else sequence
    assert text == expected_sequence(signal)
    assert len(result.as_numpy("QSTRING")[0]) == len(text)
    assert result.as_numpy("MEAN_Q").tolist() == [20.0]
    assert result.as_numpy("MOVES").tolist() == [1] * 123
    assert result.get_response()["id"] == "r7" and result.get_response()["model_name"] == "tiny"


def test_without_a_wish_every_output_comes(client: Any) -> None:
    signal = random_signal(100)
    result = client.infer("tiny", [tensor(signal, shape=[1, 100])], model_version="1")
    assert result.as_numpy("SEQUENCE")[0].decode() == expected_sequence(signal)
    assert {output["name"] for output in result.get_response()["outputs"]} == set(OUTPUTS)


def test_parameters_say_what_there_is_to_say_of_the_read(client: Any) -> None:
    with pytest.raises(InferenceServerException, match="sampled at 5000 Hz, tiny takes 4000 Hz"):
        client.infer("tiny", [tensor(random_signal(10))], parameters={"sample_rate": 5000})
    said = {"sample_rate": 4000, "offset": 6, "scale": 1, "read_id": "r", "their_own": "x"}
    assert client.infer("tiny", [tensor(random_signal(10))], parameters=said)


def test_triton_s_client_is_told_what_is_wrong(client: Any) -> None:
    for model, name, kind, said in (
        ("nobody", "SIGNAL", "INT16", "'nobody' is not; there are tiny, null"),
        ("tiny", "CURRENT", "INT16", "one tensor, SIGNAL"),
        ("tiny", "SIGNAL", "FP32", "it is to be INT16"),
    ):
        wrong = triton.InferInput(name, [4], kind)
        wrong.set_data_from_numpy(np.zeros(4, {"INT16": np.int16, "FP32": np.float32}[kind]))
        with pytest.raises(InferenceServerException, match=said):
            client.infer(model, [wrong])
    with pytest.raises(InferenceServerException, match="nobody"):
        client.get_model_metadata("nobody")
    with pytest.raises(InferenceServerException, match="SCORES"):
        client.infer("tiny", [tensor(random_signal(9))], outputs=[triton.InferRequestedOutput("SCORES")])
    with pytest.raises(InferenceServerException, match="is encoded as gzip"):
        client.infer("tiny", [tensor(random_signal(9))], request_compression_algorithm="gzip")
    assert not client.is_model_ready("nobody") and not client.is_model_ready("tiny", "2")


def test_refusals_are_errors_in_the_protocol_s_form(running: Running) -> None:
    with running.client() as client:
        for response, status in (
            (client.get("/v2/nothing"), 404),
            (client.get("/v2/models/tiny/infer"), 405),
            (client.post("/v2/models/tiny/infer", content=b"{"), 400),
            (client.post("/v2/models/nobody/infer", json={}), 404),
        ):
            assert response.status_code == status and list(response.json()) == ["error"]


def test_tokens_are_asked_for_here_too_and_the_file_is_read_again(tokens_file: Path) -> None:
    with serving(tokens=tokens_file) as running:
        address = f"127.0.0.1:{running.port}"
        with triton.InferenceServerClient(address) as one:
            assert one.is_server_ready()
            signal_in = [tensor(random_signal(10))]
            with pytest.raises(InferenceServerException, match="Authorization: Bearer TOKEN"):
                one.infer("tiny", signal_in)
            assert one.infer("tiny", signal_in, headers={"Authorization": "Bearer sesame"})
            tokens_file.write_text("another\n")
            with pytest.raises(InferenceServerException, match="not among those allowed"):
                one.infer("tiny", signal_in, headers={"Authorization": "Bearer sesame"})
            assert one.infer("tiny", signal_in, headers={"Authorization": "Bearer another"})


def test_limits_hold_for_tensors_too() -> None:
    with serving(max_read_samples=1000) as running, running.client() as client:
        url = "/v2/models/tiny/infer"
        head = json.dumps(
            {
                "inputs": [
                    {
                        "name": "SIGNAL",
                        "shape": [1001],
                        "datatype": "INT16",
                        "parameters": {"binary_data_size": 2002},
                    }
                ]
            }
        ).encode()
        length = {"inference-header-content-length": str(len(head))}
        refused = client.post(url, content=head + bytes(2002), headers=length)
        assert (refused.status_code, list(refused.json())) == (413, ["error"])
        many = {"inference-header-content-length": str(10**6)}
        assert client.post(url, content=head, headers=many).status_code == 400


def test_timing_and_trace_are_on_these_answers_too(running: Running) -> None:
    signal = random_signal(30)
    document = {"inputs": [{"name": "SIGNAL", "shape": [30], "datatype": "INT16", "data": signal.tolist()}]}
    response = httpx.post(f"{running.url}/v2/models/tiny/infer", json=document)
    assert response.headers["server-timing"].startswith("receive;dur=")
    assert response.json()["outputs"][0]["data"] == [expected_sequence(signal)]
    assert response.headers["content-type"] == "application/json"


def head_of(size: Any = 4, **changes: Any) -> bytes:
    signal = {"name": "SIGNAL", "shape": [2], "datatype": "INT16", "parameters": {"binary_data_size": size}}
    return json.dumps({"inputs": [signal | changes]}).encode()


@pytest.mark.parametrize(
    ("head", "tail", "said"),
    [
        (b"[]", b"", "the request is"),
        (b"{}", b"", "one tensor, SIGNAL"),
        (b'{"inputs": [5]}', b"", "an input is 5; it is to be an object"),
        (head_of(), b"abc", "3 bytes follow the JSON"),
        (head_of(6), b"abcd", "said to have 6 bytes"),
        (head_of(shape=[2, 1]), b"abcd", r"shape \[2, 1\]"),
        (head_of(shape=[3]), b"abcd", "has 2 samples"),
        (head_of(shape=[True]), b"abcd", "shape"),
        (head_of(data=[1, 2]), b"abcd", "either data, or"),
        (head_of(None), b"abcd", "either data, or"),
        (head_of(0, shape=[0]), b"", "empty"),
        (head_of(None, data=["x", "y"]), b"", "not an integer"),
    ],
)
def test_what_is_wrong_with_a_tensor_is_said(head: bytes, tail: bytes, said: str) -> None:
    with pytest.raises((Problem, WireError), match=said):
        understand_inference(head + tail, len(head))


def test_outputs_are_packed_as_the_extension_has_them() -> None:
    call = Basecall("ACG", "5+5", np.array([1, 0, 1, 1], np.uint8), 5, 20)
    answer = Answer("tiny", read_of(random_signal(20)), call)
    packed = {name: output.binary(answer) for name, output in OUTPUTS.items()}
    assert packed["SEQUENCE"] == b"\x03\0\0\0ACG" and packed["QSTRING"] == b"\x03\0\0\x005+5"
    assert packed["MOVES"] == b"\1\0\1\1" and struct.unpack("<f", packed["MEAN_Q"])[0] > 10


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
WORDS = st.sampled_from(["name", "shape", "datatype", "data", "parameters"])
REQUESTS = st.fixed_dictionaries(
    {"inputs": st.lists(st.dictionaries(WORDS, ANY_JSON) | ANY_JSON, max_size=2)},
    optional={"id": ANY_JSON, "outputs": ANY_JSON, "parameters": ANY_JSON},
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    REQUESTS.map(lambda request: json.dumps(request).encode()) | st.binary(max_size=50), st.binary(max_size=8)
)
def test_any_request_is_a_read_or_a_problem(head: bytes, tail: bytes) -> None:
    for json_bytes in (len(head), None):
        try:
            signal, _, _ = understand_inference(bytearray(head + tail), json_bytes)
        except (Problem, WireError) as error:
            assert str(error)
        else:
            assert len(signal)
