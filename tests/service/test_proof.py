"""The proof that a model calls, before it is served."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from live_service import TinyCaller

from models.caller import Caller, ChunkCall
from models.null import NullCaller
from service.metrics import Metrics
from service.proof import UnprovenError, check_call, known_read, prove
from service.served import ServedModel


def served(caller: Caller) -> ServedModel:
    return ServedModel(lambda device: caller, ["cpu"], Metrics())


class Silent(TinyCaller):
    def decode(self, scores: Any) -> Sequence[ChunkCall]:
        return [replace(call, moves=call.moves * 0) for call in super().decode(scores)]


@pytest.mark.parametrize("caller", [TinyCaller(), NullCaller()])
def test_a_model_that_calls_is_proven_and_its_drain_rate_is_known(caller: Caller) -> None:
    with served(caller) as model:
        prove(model)
        assert 0 < model.samples_per_s < float("inf")


def test_a_model_that_calls_nothing_is_not_proven() -> None:
    with served(Silent()) as model, pytest.raises(UnprovenError, match="as 0"):
        prove(model)


def test_a_call_whose_parts_disagree_is_unsound() -> None:
    known = known_read(4000.0)
    caller = TinyCaller()
    chunks = caller.chunk(known.read)
    call = caller.stitch(chunks, caller.decode(caller.score(chunks.samples)))
    check_call(call, known)
    for wrong in (replace(call, qstring=""), replace(call, sequence=call.sequence.replace("A", "N"))):
        with pytest.raises(UnprovenError, match="unsound"):
            check_call(wrong, known)


def test_the_known_read_is_said_to_be_of_the_rate_that_is_asked_for() -> None:
    assert known_read(5000.0).read.sample_rate == 5000.0
