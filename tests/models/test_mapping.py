"""Calls are placed on the reference column by column, in the direction of the call."""

from pathlib import Path

import numpy as np
import pytest

from models.mapping import GAP, UNKNOWN_CALL, UNKNOWN_REFERENCE, Reference
from reads.errors import ReadFileError
from reads.kmers import decode, reverse_complement

pytestmark = pytest.mark.usefixtures("mappy")

CODES = np.random.default_rng(9).integers(0, 4, 6000).astype(np.uint8)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    path = tmp_path_factory.mktemp("ref") / "ref.fa"
    path.write_text(f">chr\n{decode(CODES)}\n")
    return Reference.of_file(path)


@pytest.mark.parametrize("strand", [1, -1])
def test_columns_spell_the_call_and_the_reference(reference: Reference, strand: int) -> None:
    truth = CODES[1000:3000].copy()
    strand_codes = truth if strand == 1 else reverse_complement(truth)
    called = np.delete(strand_codes, [500])
    called[700] = (called[700] + 1) % 4
    called = np.insert(called, 900, 3 - called[899])
    mapping = reference.map(decode(called))
    assert mapping is not None
    assert mapping.strand == strand
    query = called[mapping.query_start : mapping.query_end]
    assert mapping.called[mapping.called != GAP].tolist() == query.tolist()
    placed = CODES[mapping.start : mapping.end]
    expected = placed if strand == 1 else reverse_complement(placed)
    assert mapping.reference[mapping.reference != GAP].tolist() == expected.tolist()
    columns = mapping.called != GAP
    assert mapping.query[columns].tolist() == list(range(mapping.query_start, mapping.query_end))
    assert int((mapping.reference != mapping.called).sum()) == 3


def test_a_call_from_elsewhere_maps_nowhere(reference: Reference) -> None:
    assert reference.map(decode(np.random.default_rng(1).integers(0, 4, 2000).astype(np.uint8))) is None


def test_an_empty_call_maps_nowhere(reference: Reference) -> None:
    assert reference.map("") is None


def test_letters_that_are_no_base_match_nothing(tmp_path: Path) -> None:
    sequence = decode(CODES)
    path = tmp_path / "ref.fa"
    path.write_text(f">chr\n{sequence[:2000]}N{sequence[2001:]}\n")
    called = sequence[1000:1500] + "N" + sequence[1501:3000]
    mapping = Reference.of_file(path).map(called)
    assert mapping is not None
    wrong = np.flatnonzero(mapping.reference != mapping.called)
    assert mapping.called[wrong[0]] == UNKNOWN_CALL
    assert mapping.reference[wrong[1]] == UNKNOWN_REFERENCE
    assert len(wrong) == 2


def test_one_sequence_can_be_the_reference() -> None:
    mapping = Reference.of_codes(CODES).map(decode(reverse_complement(CODES[100:900])))
    assert mapping is not None
    assert (mapping.start, mapping.end, mapping.strand, mapping.identity) == (100, 900, -1, 1.0)


@pytest.mark.parametrize("content", ["", "no fasta here\n"])
def test_a_reference_that_is_not_fasta_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "ref.fa"
    path.write_text(content)
    with pytest.raises(ReadFileError, match=r"ref.fa: no sequence in it"):
        Reference.of_file(path)
    with pytest.raises(ReadFileError, match="there is no such file"):
        Reference.of_file(tmp_path / "none.fa")
