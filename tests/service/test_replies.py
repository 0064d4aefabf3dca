"""What a client makes of the service's answers: calls, models, words and times."""

import numpy as np
import pytest
from made_calls import CALLS

from models.basecall import Basecall
from reads.read import Read
from service.answers import FASTQ, SAM, Answer, as_fastq, as_sam
from service.replies import basecall_of, find_model, problem_of, queue_s, retry_after_s


@pytest.mark.parametrize(("read", "call"), CALLS)
def test_a_sam_answer_is_the_whole_call(read: Read, call: Basecall) -> None:
    got = basecall_of(as_sam(Answer("m", read, call)), SAM, read.read_id)
    assert (got.sequence, got.qstring, got.stride, got.samples) == (
        call.sequence,
        call.qstring,
        call.stride,
        call.samples,
    )
    assert np.array_equal(got.moves, call.moves)


@pytest.mark.parametrize(("read", "call"), CALLS)
def test_a_fastq_answer_is_the_call_but_for_its_moves(read: Read, call: Basecall) -> None:
    got = basecall_of(as_fastq(Answer("m", read, call)), FASTQ, read.read_id)
    assert (got.sequence, got.qstring, got.samples) == (call.sequence, call.qstring, call.samples)


def test_what_was_cut_from_the_read_is_known() -> None:
    read, call = CALLS[0]
    cut = Basecall(call.sequence, call.qstring, call.moves, call.stride, samples=1500)
    assert basecall_of(as_fastq(Answer("m", read, cut)), FASTQ, read.read_id).samples == 1500


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
    assert problem_of(503, b'{"title": "Full", "detail": "come again"}') == "Full: come again"
    assert problem_of(502, b"<html>") == "it was answered with status 502"


def test_times_are_read_where_they_are_said() -> None:
    assert [retry_after_s(field) for field in ("7", None, "Fri, 31 Dec 1999 23:59:59 GMT")] == [7, None, None]
    assert queue_s("receive;dur=1.5, queue;dur=250.0, total;dur=300") == 0.25
    assert queue_s("") == 0
