"""Basecalls as an answer: one record a read, in every form, whatever its name and what was wrong with it."""

import json

import numpy as np
import pyarrow as pa
import pytest
from live_service import random_signal, read_of

from models.basecall import Basecall
from service.answers import (
    ARROW,
    FASTQ,
    FORMS,
    FORMS_OF_MANY,
    JSON,
    NDJSON,
    SAM,
    Answer,
    Form,
    Record,
    Refusal,
)
from service.errors import DeadlineError, ImpossibleRequestError

CALL = Basecall("ACG", "5+5", np.array([1, 0, 1, 1], np.uint8), 5, 20)
ANSWER = Answer("tiny", read_of(random_signal(20), "r1"), CALL)
REFUSAL = Refusal("r2", ImpossibleRequestError("the signal is empty"))


def whole(form: Form, *records: Record) -> bytes:
    return form.begin() + form.records(records) + form.end


def test_json_is_an_object_of_one_and_an_array_of_many() -> None:
    one = json.loads(FORMS[JSON].whole(ANSWER)[0])
    assert (one["read_id"], one["sequence"], one["bases"], one["samples"]) == ("r1", "ACG", 3, 20)
    assert json.loads(whole(FORMS_OF_MANY[JSON], ANSWER)) == [one]
    error = {
        "type": "urn:fiveways:problem:impossible-request",
        "title": "The request cannot be called",
        "status": 422,
        "detail": "the signal is empty",
    }
    many = whole(FORMS_OF_MANY[JSON], ANSWER, REFUSAL)
    assert json.loads(many) == [one, {"read_id": "r2", "error": error}]
    assert [json.loads(line) for line in whole(FORMS[NDJSON], ANSWER, REFUSAL).splitlines()] == json.loads(
        many
    )


def test_arrow_is_one_stream_of_one_and_of_many() -> None:
    (row,) = pa.ipc.open_stream(FORMS[ARROW].whole(ANSWER)[0]).read_all().to_pylist()
    assert row == {
        "read_id": "r1",
        "status": 200,
        "error": None,
        "samples": 20,
        "sequence": "ACG",
        "qstring": "5+5",
        "mean_q": pytest.approx(CALL.mean_q),
        "moves": [1, 0, 1, 1],
        "stride": 5,
    }
    first, second = pa.ipc.open_stream(whole(FORMS[ARROW], ANSWER, REFUSAL)).read_all().to_pylist()
    assert first == row and (second["status"], second["error"]) == (422, "the signal is empty")
    assert {second[name] for name in ("samples", "sequence", "qstring", "mean_q", "moves", "stride")} == {
        None
    }


LATE = DeadlineError("too late", retry_after_s=3)
AWKWARD = [
    *(Refusal(name, LATE) for name in ("", "two words", "@a", "tab\tin", "\ud800", "x" * 300, "ä\n")),
    *(Refusal("r", ImpossibleRequestError(why)) for why in ("a\tb\nc", "\ud800", "\x00", "")),
]


@pytest.mark.parametrize("refusal", AWKWARD, ids=repr)
def test_what_is_awkward_breaks_no_form(refusal: Refusal) -> None:
    (row,) = json.loads(whole(FORMS_OF_MANY[JSON], refusal))
    assert 1 <= len(row["read_id"]) <= 254 and row["read_id"].isascii()
    fields = whole(FORMS[SAM], refusal).decode().splitlines()[-1].split("\t")
    assert len(fields) == 12 and fields[0] == row["read_id"] and fields[11].startswith("er:Z:")
    assert whole(FORMS[FASTQ], refusal).decode().split("\n")[1:] == ["", "+", "", ""]
    (arrow,) = pa.ipc.open_stream(whole(FORMS[ARROW], refusal)).read_all().to_pylist()
    assert arrow["read_id"] == row["read_id"] and arrow["error"] == row["error"]["detail"]
