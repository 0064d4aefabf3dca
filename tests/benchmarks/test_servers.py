import base64
import json

import numpy as np
import pytest

from benchmarks import environments
from benchmarks.hammer import Request, _bases
from benchmarks.servers import NotInstalledError, for_triton, in_json, in_list, peer, without_words

SIGNAL = np.arange(5, dtype=np.int16).tobytes()
REQUEST = Request(SIGNAL, "/v1/basecall?offset=1")


def test_every_form_of_a_request_has_the_same_signal():
    assert without_words(REQUEST) == Request(SIGNAL, "/v1/basecall")
    assert base64.b64decode(json.loads(in_json(REQUEST).body)["signal"]) == SIGNAL
    assert [base64.b64decode(one) for one in json.loads(in_list(REQUEST).body)["signals"]] == [SIGNAL]
    triton = for_triton(REQUEST)
    head = int(triton.headers["Inference-Header-Content-Length"])
    assert triton.body[head:] == SIGNAL
    tensor = json.loads(triton.body[:head])["inputs"][0]
    assert (tensor["shape"], tensor["datatype"]) == ([1, 5], "INT16")
    assert tensor["parameters"] == {"binary_data_size": len(SIGNAL)}


@pytest.mark.parametrize(
    ("form", "answer"),
    [
        (without_words, {"bases": 4, "sequence": "ACGT"}),
        (in_json, {"sequence": "ACGT"}),
        (in_list, [{"sequence": "ACGT"}]),
        (for_triton, {"outputs": [{"name": "sequence", "data": ["ACGT"]}]}),
    ],
)
def test_bases_are_counted_where_each_form_of_an_answer_has_its_sequence(form, answer):
    assert _bases(200, json.dumps(answer).encode(), form(REQUEST)) == 4
    with pytest.raises(LookupError):
        _bases(200, b"{}", form(REQUEST))


def test_a_peer_without_an_environment_is_answered_with_the_command_that_makes_it(tmp_path, monkeypatch):
    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    with pytest.raises(NotInstalledError, match=r"^python -m benchmarks.environments ray$"):
        peer("ray", "a model")
    assert "benchmarks.peers" in peer("fastapi", "a model").command
