"""The shipped model, served: its answers are those of the offline call, whatever the company."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest
from live_service import Running, call, of, serving

from models.basecaller import call as call_offline
from models.zoo import load
from reads.simulate import simulate_reads
from service.errors import UnknownModelError


@pytest.fixture(scope="module")
def shipped() -> Iterator[Running]:
    with serving(of(load(device="cpu"))) as running:
        yield running


def test_answers_are_those_of_the_offline_call_whatever_the_company(shipped: Running) -> None:
    reads = [simulated.read for simulated in islice(simulate_reads(seed=3, mean_bases=600), 12)]
    caller = shipped.service.model("").caller
    expected = [basecall.sequence for _, basecall in call_offline(caller, reads)]
    with shipped.client() as client, ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda read: call(client, read.signal).json(), reads))
        alone = call(client, reads[0].signal).json()
    assert [answer["sequence"] for answer in answers] == expected
    assert alone == {**answers[0], "read_id": alone["read_id"]}


def test_it_is_the_default_and_the_null_arm_is_beside_it(shipped: Running) -> None:
    with shipped.client() as client:
        listed = client.get("/v1/models").json()["models"]
    assert [(model["name"], model["default"]) for model in listed] == [
        (shipped.service.model("").name, True),
        ("null", False),
    ]
    assert all(model["samples_per_second"] > 0 for model in listed)


def test_a_model_that_is_not_served_is_unknown(shipped: Running) -> None:
    with pytest.raises(UnknownModelError, match="null"):
        shipped.service.model("r10")
