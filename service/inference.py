"""A read and its call in the Open Inference Protocol, v2, with the binary tensor extension. Pure.

In: the tensor SIGNAL, and what there is to say of the read as parameters of the request. Out: the tensors of
OUTPUTS, those that are asked for or all. https://github.com/kserve/open-inference-protocol
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from reads import wire
from reads.read import Signal
from service.answers import Answer
from service.errors import ImpossibleRequestError, MalformedRequestError

JSON, BINARY = "application/json", "application/octet-stream"
JSON_LENGTH = "inference-header-content-length"
"""The header that says how many bytes of a body are JSON, where tensors follow it."""
VERSION = "1"
"""The only version that a model has here: another version has another name."""
SIGNAL = "SIGNAL"
_BYTES_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Output:
    """A tensor of an answer: its datatype, its length (-1 where it varies), and its elements in an answer."""

    name: str
    datatype: str
    length: int
    elements: Callable[[Answer], list[Any] | NDArray[np.uint8]]

    def binary(self, answer: Answer) -> bytes:
        """Return the elements as the binary extension has them."""
        elements = self.elements(answer)
        if self.datatype == "BYTES":
            texts = [text.encode() for text in elements]
            return b"".join(_BYTES_LENGTH.pack(len(text)) + text for text in texts)
        return np.asarray(elements, {"FP32": "<f4", "UINT8": "u1"}[self.datatype]).tobytes()


OUTPUTS = {
    output.name: output
    for output in (
        Output("SEQUENCE", "BYTES", 1, lambda answer: [answer.call.sequence]),
        Output("QSTRING", "BYTES", 1, lambda answer: [answer.call.qstring]),
        Output("MEAN_Q", "FP32", 1, lambda answer: [answer.call.mean_q]),
        Output("MOVES", "UINT8", -1, lambda answer: answer.call.moves),
    )
}


@dataclass(frozen=True, slots=True)
class InferenceForm:
    """How an answer is wanted: the request's id, and of each output whether it is to be binary."""

    request_id: str
    outputs: Mapping[str, bool]

    @property
    def media_type(self) -> str:
        """Return the type of the answer: JSON unless tensors follow it."""
        return BINARY if any(self.outputs.values()) else JSON

    def whole(self, answer: Answer) -> tuple[bytes, list[tuple[str, str]]]:
        """Return the body, and the header fields that go with it."""
        tensors: list[dict[str, Any]] = []
        content: list[bytes] = []
        for name, binary in self.outputs.items():
            output = OUTPUTS[name]
            shape = [len(output.elements(answer))]
            tensor = {"name": name, "datatype": output.datatype, "shape": shape}
            if binary:
                content.append(output.binary(answer))
                tensors.append(tensor | {"parameters": {"binary_data_size": len(content[-1])}})
            else:
                tensors.append(tensor | {"data": output.elements(answer)})
        said = {"model_name": answer.model, "model_version": VERSION, "outputs": tensors}
        said |= {"id": self.request_id} if self.request_id else {}
        text = orjson.dumps(said, option=orjson.OPT_SERIALIZE_NUMPY)
        more = [(JSON_LENGTH, str(len(text)))] if content else []
        return b"".join([text, *content]), more


def model_metadata(model: str) -> dict[str, Any]:
    """Return what the protocol says of a model."""
    return {
        "name": model,
        "versions": [VERSION],
        "platform": "fiveways",
        "inputs": [{"name": SIGNAL, "datatype": "INT16", "shape": [-1]}],
        "outputs": [
            {"name": output.name, "datatype": output.datatype, "shape": [output.length]}
            for output in OUTPUTS.values()
        ],
    }


def understand_inference(
    body: bytes | bytearray, json_bytes: int | None
) -> tuple[Signal, wire.ReadWords, InferenceForm]:
    """Return the signal of a request's body, what it says of the read, and the form that is wanted.

    The first `json_bytes` of the body, or all of it, are JSON. Raises Problem and wire.WireError.
    """
    text, tail = (body, b"") if json_bytes is None else (body[:json_bytes], memoryview(body)[json_bytes:])
    try:
        request = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise MalformedRequestError(f"the request is not JSON: {error}") from error
    inputs = _member(_is(request, dict, "the request"), "inputs", list)
    if len(inputs) != 1 or _is(inputs[0], dict, "an input").get("name") != SIGNAL:
        raise MalformedRequestError(f"the inputs are to be one tensor, {SIGNAL}; parameters say the rest")
    signal = _signal(inputs[0], tail)
    parameters = _member(request, "parameters", dict)
    words = {word: parameters[word] for word in wire.ReadWords.__slots__ if word in parameters}
    for word, value in words.items():
        if isinstance(value, bool) or not isinstance(value, str if word == "read_id" else int | float):
            raise MalformedRequestError(f"the parameter {word} is {value!r:.100}")
    # They are checked as those of a query are, which are text.
    said = wire.parse_words({word: str(value) for word, value in words.items()})
    return signal, said, InferenceForm(_member(request, "id", str), _outputs(request, parameters))


def _outputs(request: dict[str, Any], parameters: dict[str, Any]) -> dict[str, bool]:
    binary = parameters.get("binary_data_output") is True
    wanted = {}
    for output in _member(request, "outputs", list):
        name = _is(output, dict, "an output").get("name")
        if not isinstance(name, str) or name not in OUTPUTS:
            raise MalformedRequestError(f"{name!r:.100} is no output; there are {', '.join(OUTPUTS)}")
        wanted[name] = _member(output, "parameters", dict).get("binary_data", binary) is True
    return wanted or dict.fromkeys(OUTPUTS, binary)


def _signal(tensor: dict[str, Any], tail: bytes | memoryview) -> Signal:
    datatype, shape = tensor.get("datatype"), _member(tensor, "shape", list)
    if datatype != "INT16":
        raise MalformedRequestError(f"{SIGNAL} is {datatype!r:.100}; it is to be INT16")
    if any(type(length) is not int for length in shape) or not (
        len(shape) == 1 or (len(shape) == 2 and shape[0] == 1)
    ):
        raise MalformedRequestError(f"{SIGNAL} is of shape {shape!r:.100}; it is one read, [samples]")
    size = _member(tensor, "parameters", dict).get("binary_data_size")
    if ("data" in tensor) == (size is not None):
        raise MalformedRequestError(f"{SIGNAL} is to have either data, or parameters with binary_data_size")
    if size is None:
        signal = wire.signal_from_list(tensor["data"])
    elif size == len(tail):
        signal = wire.signal_from_bytes(tail)
    else:
        raise MalformedRequestError(
            f"{SIGNAL} is said to have {size!r:.100} bytes and {len(tail)} bytes follow the JSON, "
            f"whose length {JSON_LENGTH} says"
        )
    if len(signal) != shape[-1]:
        raise ImpossibleRequestError(f"{SIGNAL} is of shape {shape} and has {len(signal)} samples")
    return signal


def _member(holder: dict[str, Any], name: str, kind: type) -> Any:
    """Return a member that may be missing, and is empty then."""
    value = holder.get(name)
    return kind() if value is None else _is(value, kind, name)


def _is(value: Any, kind: type, what: str) -> Any:
    if not isinstance(value, kind):
        name = {"dict": "an object", "list": "an array", "str": "a string"}[kind.__name__]
        raise MalformedRequestError(f"{what} is {value!r:.100}; it is to be {name}")
    return value
