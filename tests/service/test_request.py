"""What a request asks for, read from its query and headers alone."""

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reads.wire import ReadWords
from service.errors import (
    ImpossibleRequestError,
    MalformedRequestError,
    NotAcceptableError,
    Problem,
    TooLargeError,
)
from service.job import Priority
from service.request import JSON_BYTES, Wanted, parse_request
from service.settings import Settings


def parse(query: str = "", **headers: str) -> Wanted:
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return parse_request(query.encode(), fields)


def test_a_bare_body_is_a_read_for_the_default_model() -> None:
    assert parse(content_length="20") == Wanted(
        model="",
        words=ReadWords(),
        body_type="application/octet-stream",
        body_bytes=20,
        answer_type="application/json",
        priority=Priority.NORMAL,
        within_s=math.inf,
    )


def test_the_query_says_what_the_headers_could() -> None:
    by_query = parse("model=m&read_id=a%2Db&sample_rate=4000&offset=6&scale=0.5")
    by_headers = parse(
        x_model="m", x_read_id="a-b", X_Sample_Rate="4000", x_offset="6", x_scale="0.5", content_length="0"
    )
    assert by_query == by_headers
    assert by_query.words == ReadWords("a-b", 4000.0, 6.0, 0.5)


def test_a_body_in_pieces_has_no_length_yet() -> None:
    assert parse(transfer_encoding="chunked").body_bytes is None
    assert parse().body_bytes == 0


def test_deadlines_are_milliseconds_and_priorities_words() -> None:
    wanted = parse(x_deadline_ms="1500", x_priority="High")
    assert (wanted.within_s, wanted.priority) == (1.5, Priority.HIGH)


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/*", "text/x-fastq"),
        ("text/x-sam", "text/x-sam"),
        ("text/html, text/x-sam;q=0.5, */*;q=0.1", "text/x-sam"),
        ("application/json;q=0.2, text/x-fastq;q=0.8", "text/x-fastq"),
        ("*/*, application/json;q=0", "text/x-fastq"),
        ("TEXT/X-FASTQ; Q=1", "text/x-fastq"),
    ],
)
def test_the_answer_is_of_the_type_that_the_client_likes_best(accept: str, chosen: str) -> None:
    assert parse(accept=accept).answer_type == chosen


@pytest.mark.parametrize("accept", ["image/png", "application/json;q=0", "text/x-sam;q=none"])
def test_no_type_that_the_client_takes_is_a_problem(accept: str) -> None:
    with pytest.raises(NotAcceptableError, match="text/x-fastq"):
        parse(accept=accept)


@pytest.mark.parametrize("query", ["=", "model", "%ff=1", "model=%ff", "a=1", "model=a&model=b", "&&=&"])
def test_a_query_that_is_none_is_malformed(query: str) -> None:
    with pytest.raises(MalformedRequestError):
        parse(query)


@pytest.mark.parametrize("ms", ["0", "-5", "nan"])
def test_a_deadline_before_now_is_impossible(ms: str) -> None:
    with pytest.raises(ImpossibleRequestError, match="above 0"):
        parse(x_deadline_ms=ms)


def test_bodies_are_limited_by_their_type() -> None:
    octets, json = parse(), parse(content_type="application/json; charset=utf-8")
    many = parse(content_type="application/x-hdf5")
    limits = Settings(max_read_samples=1000, max_signal_mib=1)
    octets.check_bytes(2000, limits)
    json.check_bytes(JSON_BYTES, limits)
    many.check_bytes(2 * limits.max_request_samples, limits)
    with pytest.raises(TooLargeError, match="1000 samples"):
        octets.check_bytes(2001, limits)
    with pytest.raises(TooLargeError, match="octet-stream"):
        json.check_bytes(JSON_BYTES + 1, limits)
    with pytest.raises(TooLargeError, match="65536 samples here: send fewer reads"):
        many.check_bytes(2 * 65536 + 1, limits)


def test_a_body_of_many_reads_says_all_words_itself() -> None:
    many = parse("model=m", content_type="application/vnd.pod5")
    assert (many.has_many, many.model, many.samples(1000)) == (True, "m", 1000)
    assert (parse().has_many, parse().samples(1000)) == (False, 500)
    with pytest.raises(MalformedRequestError, match="read_id, scale given for a body of many reads"):
        parse("read_id=a&scale=1", content_type="application/x-hdf5")


ANY_SPEED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no failure."""
HEADER_NAMES = st.sampled_from(
    ["accept", "content-type", "content-length", "content-encoding", "x-model", "x-priority", "x-deadline-ms"]
)


@ANY_SPEED
@given(st.binary(max_size=60), st.lists(st.tuples(HEADER_NAMES.map(str.encode), st.binary(max_size=20))))
def test_anything_is_a_request_or_a_problem(query: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    try:
        parse_request(query, headers)
    except Problem as problem:
        assert problem.detail and 400 <= problem.status < 500
