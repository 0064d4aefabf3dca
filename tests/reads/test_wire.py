"""Reads on the wire: what comes back is what went in, and what is wrong is said."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from reads.read import Signal
from reads.wire import (
    ImpossibleError,
    MalformedError,
    ReadWords,
    WireError,
    parse_words,
    read_from_json,
    signal_from_bytes,
    signal_to_bytes,
)

ANY_SPEED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no failure."""
SIGNALS = arrays(np.int16, st.integers(1, 300))


@ANY_SPEED
@given(SIGNALS)
def test_a_signal_survives_the_wire_as_bytes(signal: Signal) -> None:
    assert np.array_equal(signal_from_bytes(signal_to_bytes(signal)), signal)


@ANY_SPEED
@given(SIGNALS)
def test_a_signal_survives_the_wire_as_json(signal: Signal) -> None:
    received, words = read_from_json(json.dumps({"signal": signal.tolist()}).encode())
    assert received.dtype == np.int16 and np.array_equal(received, signal)
    assert words == ReadWords()


def test_samples_are_little_endian_whatever_the_machine() -> None:
    assert signal_from_bytes(b"\x01\x00\x00\x01\xff\xff").tolist() == [1, 256, -1]
    assert signal_to_bytes(np.array([1, 256, -1], ">i2").astype(np.int16)) == b"\x01\x00\x00\x01\xff\xff"


def test_a_signal_is_a_view_of_its_body() -> None:
    body = bytearray(b"\x01\x00\x02\x00")
    signal = signal_from_bytes(body)
    body[0] = 7
    assert signal.tolist() == [7, 2]


@pytest.mark.parametrize(("body", "said"), [(b"", "empty"), (b"abc", "3 bytes")])
def test_bytes_that_are_no_samples_are_malformed(body: bytes, said: str) -> None:
    with pytest.raises(MalformedError, match=said):
        signal_from_bytes(body)


def test_words_are_taken_as_they_are_written() -> None:
    words = parse_words({"read_id": "a-1:0", "sample_rate": "4e3", "offset": "-6", "scale": "0.177"})
    assert words == ReadWords("a-1:0", 4000.0, -6.0, 0.177)
    assert parse_words({}) == ReadWords(None, None, None, None)


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        ({"rate": "4000"}, MalformedError, "sample_rate"),
        ({"sample_rate": "fast"}, MalformedError, "fast"),
        ({"sample_rate": "0"}, ImpossibleError, "above 0"),
        ({"sample_rate": "inf"}, ImpossibleError, "finite"),
        ({"scale": "-1"}, ImpossibleError, "above 0"),
        ({"offset": "nan"}, ImpossibleError, "finite"),
        ({"read_id": ""}, ImpossibleError, "read_id"),
        ({"read_id": "two words"}, ImpossibleError, "read_id"),
        ({"read_id": "new\nline"}, ImpossibleError, "read_id"),
        ({"read_id": "@start"}, ImpossibleError, "read_id"),
        ({"read_id": "x" * 255}, ImpossibleError, "254"),
    ],
)
def test_words_that_are_wrong_say_what_would_be_right(
    words: dict[str, str], kind: type[WireError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        parse_words(words)


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"", MalformedError, "not JSON"),
        (b"[1, 2]", MalformedError, "object"),
        (b"{}", MalformedError, "signal"),
        (b'{"signal": []}', MalformedError, "at least one"),
        (b'{"signal": "abc"}', MalformedError, "list"),
        (b'{"signal": [1.5]}', MalformedError, "integer"),
        (b'{"signal": [true]}', MalformedError, "integer"),
        (b'{"signal": [[1], [2]]}', MalformedError, "integer"),
        (b'{"signal": [32768]}', ImpossibleError, "int16"),
        (b'{"signal": [-32769]}', ImpossibleError, "int16"),
        (b'{"signal": [18446744073709551615]}', ImpossibleError, "int16"),
        (b'{"signal": [1], "sampling": 1}', MalformedError, "sampling"),
        (b'{"signal": [1], "sample_rate": "4000"}', MalformedError, "not a number"),
        (b'{"signal": [1], "scale": true}', MalformedError, "not a number"),
        (b'{"signal": [1], "read_id": 5}', MalformedError, "not a string"),
        (b'{"signal": [1], "scale": 0}', ImpossibleError, "above 0"),
        (b'{"signal": [1], "model": "x"}', MalformedError, "model"),
    ],
)
def test_json_that_is_wrong_says_what_would_be_right(body: bytes, kind: type[WireError], said: str) -> None:
    with pytest.raises(kind, match=said):
        read_from_json(body)


@ANY_SPEED
@given(st.binary(max_size=200))
def test_any_bytes_are_a_read_or_an_error_of_the_wire(body: bytes) -> None:
    for understand in (signal_from_bytes, read_from_json):
        try:
            understand(body)
        except WireError as error:
            assert str(error)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@ANY_SPEED
@given(st.dictionaries(st.sampled_from(["signal", "read_id", "sample_rate", "offset", "scale"]), ANY_JSON))
def test_any_json_is_a_read_or_an_error_of_the_wire(read: object) -> None:
    try:
        signal, _ = read_from_json(json.dumps(read).encode())
    except WireError as error:
        assert str(error)
    else:
        assert signal.dtype == np.int16 and len(signal)
