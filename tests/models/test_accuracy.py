"""Identity, errors, qualities and homopolymers are counted as defined."""

import numpy as np
import pytest

from models.accuracy import Tally, accuracy, calibration, homopolymers, summarise
from models.basecall import Basecall
from models.mapping import Mapping

CODES = {"A": 0, "C": 1, "G": 2, "T": 3, "-": 4}


def mapped(reference: str, called: str, qualities: str | None = None) -> tuple[Basecall, Mapping]:
    """A call and its mapping, written as two gapped rows."""
    sequence = called.replace("-", "")
    call = Basecall(sequence, qualities or "5" * len(sequence), np.ones(len(sequence), np.uint8), 5, 100)
    rows = [np.array([CODES[letter] for letter in row], np.uint8) for row in (reference, called)]
    query = np.maximum(np.cumsum(rows[1] != 4) - 1, 0)
    mapping = Mapping("chr", 0, len(reference.replace("-", "")), 1, 0, len(sequence), *rows, query)
    return call, mapping


def test_errors_are_told_apart() -> None:
    read = accuracy("r", *mapped("ACGT-ACGTA", "ACCTTAC-TA"))
    assert (read.matches, read.mismatches, read.insertions, read.deletions) == (7, 1, 1, 1)
    assert read.identity == pytest.approx(0.7)
    assert read.coverage == 1.0


def test_an_unmapped_read_counts_as_unmapped_and_not_as_identity_0() -> None:
    call, mapping = mapped("ACGT", "ACGT")
    summary = summarise([accuracy("a", call, mapping), accuracy("b", call, None)])
    assert (summary.reads, summary.mapped, summary.unmapped_share) == (2, 1, 0.5)
    assert summary.identity_median == 1.0


def test_no_reads_have_no_figures() -> None:
    assert np.isnan(summarise([]).identity_median)
    assert np.isnan(summarise([accuracy("b", mapped("A", "A")[0], None)]).mismatch_rate)


def test_each_quality_is_compared_with_its_own_errors() -> None:
    tally = Tally.empty()
    # Q10 ('+') four bases, one wrong; Q20 ('5') four bases, one inserted; the deletion belongs to none.
    tally.add(*mapped("ACGTAC-GTA", "ACCTACTGT-", "++++55555"))
    assert tally.by_q[10].tolist() == [4, 1]
    assert tally.by_q[20].tolist() == [5, 1]
    assert calibration(tally, least=4) == [
        (10, 4, pytest.approx(6.0, abs=0.1)),
        (20, 5, pytest.approx(7.0, abs=0.1)),
    ]


@pytest.mark.parametrize(
    ("reference", "called", "runs"),
    [
        ("CAAAG", "CAAAG", [(3, True)]),
        ("CAAAG", "CAA-G", [(3, False)]),
        ("CAAA-G", "CAAAAG", [(3, False)]),
        ("CAAAG", "CATAG", [(3, False)]),
        ("AAAG", "AAAG", []),
        ("CAACGGT", "CAACGGT", [(2, True), (2, True)]),
    ],
)
def test_homopolymers_are_right_or_wrong_as_a_whole(
    reference: str, called: str, runs: list[tuple[int, bool]]
) -> None:
    assert homopolymers(mapped(reference, called)[1]) == runs
