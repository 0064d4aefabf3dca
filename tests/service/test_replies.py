"""What a client makes of the service's answers: calls, models, words and times."""

import numpy as np
import orjson
import pytest
from made_calls import CALLS

from models.basecall import Basecall
from models.records import fastq_record, sam_header, sam_record
from reads.read import Read
from service.errors import BacklogFullError, BusyError, DrainingError, NotReadyError
from service.replies import FASTQ, SAM, Refusal, basecall_of, find_model, queue_s, refusal_of, retry_after_s


def fastq(read: Read, call: Basecall) -> bytes:
    return fastq_record(read, call, None).encode()


def sam(read: Read, call: Basecall) -> bytes:
    return (sam_header([], version="1") + sam_record(read, call, None, with_moves=True)).encode()


@pytest.mark.parametrize(("read", "call"), CALLS)
def test_a_sam_answer_is_the_whole_call(read: Read, call: Basecall) -> None:
    got = basecall_of(sam(read, call), SAM, read.read_id)
    assert (got.sequence, got.qstring, got.stride, got.samples) == (
        call.sequence,
        call.qstring,
        call.stride,
        call.samples,
    )
    assert np.array_equal(got.moves, call.moves)


@pytest.mark.parametrize(("read", "call"), CALLS)
def test_a_fastq_answer_is_the_call_but_for_its_moves(read: Read, call: Basecall) -> None:
    got = basecall_of(fastq(read, call), FASTQ, read.read_id)
    assert (got.sequence, got.qstring, got.samples) == (call.sequence, call.qstring, call.samples)


def test_what_was_cut_from_the_read_is_known() -> None:
    read, call = CALLS[0]
    cut = Basecall(call.sequence, call.qstring, call.moves, call.stride, samples=1500)
    assert basecall_of(fastq(read, cut), FASTQ, read.read_id).samples == 1500


TAGS = "\tqs:f:9\tns:i:10\tts:i:0"


@pytest.mark.parametrize(
    ("answer", "form", "said"),
    [
        ("", FASTQ, "no FASTQ record"),
        ("<html>\n\n\n\n", FASTQ, "no FASTQ record"),
        (f"@r{TAGS}\nACG\n+\n", FASTQ, "no FASTQ record"),
        (f"@s{TAGS}\nACG\n+\n555\n", FASTQ, "another read, 's'"),
        (f"@r{TAGS}\nACG\n+\n55\n", FASTQ, "disagree"),
        ("@r\tns:i:10\nACG\n+\n555\n", FASTQ, "lacks the tags ts"),
        ("@r\tns:i:x\tts:i:0\nACG\n+\n555\n", FASTQ, "invalid literal"),
        ("@HD\n", SAM, "no SAM record"),
        (f"r\t4\t*\t0\t0\t*\t*\t0\t0\tACG\t555{TAGS}\n", SAM, "moves are none"),
        (f"r\t4\t*\t0\t0\t*\t*\t0\t0\tACG\t555{TAGS}\tmv:B:c,5,1,1\n", SAM, "disagree"),
        (f"r\t4\t*\t0\t0\t*\t*\t0\t0\tACG\t555{TAGS}\tmv:B:c,5,1,2,0\n", SAM, "moves are none"),
        ("é", FASTQ, "ascii"),
    ],
)
def test_an_answer_that_cannot_be_is_none(answer: str, form: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        basecall_of(answer.encode(), form, "r")


MODELS = (
    b'{"models": [{"name": "a", "default": true, "sample_rate": 4000.0}, '
    b'{"name": "null", "default": false, "sample_rate": 0.0}]}'
)


def test_a_model_is_found_by_name_and_the_default_without_one() -> None:
    assert (find_model(MODELS, "").name, find_model(MODELS, "").sample_rate) == ("a", 4000.0)
    assert find_model(MODELS, "null").sample_rate == 0
    with pytest.raises(LookupError, match="'b' is served; there are a, null"):
        find_model(MODELS, "b")


@pytest.mark.parametrize("document", [b"<html>", b"[]", b"{}", b'{"models": [{"name": "a"}]}'])
def test_a_list_of_models_that_is_none_is_said_to_be(document: bytes) -> None:
    with pytest.raises(ValueError, match="not answered as the service would"):
        find_model(document, "")


def test_a_refusal_is_in_the_words_of_its_problem_document() -> None:
    document = b'{"type": "about:blank", "title": "Full", "detail": "come again"}'
    assert refusal_of(503, document) == Refusal("Full: come again")
    assert refusal_of(502, b"<html>") == Refusal("it was answered with status 502")


@pytest.mark.parametrize(
    ("problem", "not_ready"),
    [
        (DrainingError("no", retry_after_s=1), True),
        (NotReadyError("no", retry_after_s=1), True),
        (BacklogFullError("no", retry_after_s=1), False),
    ],
)
def test_a_service_that_loads_or_stops_is_told_from_one_that_is_full(
    problem: BusyError,
    not_ready: bool,
) -> None:
    refusal = refusal_of(problem.status, orjson.dumps(problem.document("id")))
    assert (refusal.words, refusal.not_ready) == (f"{problem.title}: no", not_ready)


def test_times_are_read_where_they_are_said() -> None:
    assert [retry_after_s(field) for field in ("7", None, "Fri, 31 Dec 1999 23:59:59 GMT")] == [7, None, None]
    assert queue_s("receive;dur=1.5, queue;dur=250.0, total;dur=300") == 0.25
    assert queue_s("") == 0
