"""Identity, errors, qualities and homopolymers are counted as defined."""

import numpy as np
import pytest

from models.accuracy import (
    Calibration,
    Homopolymer,
    ReadAccuracy,
    Tally,
    accuracy,
    calibration,
    homopolymers,
    summarise,
    worst_gap,
)
from models.called import Called
from models.mapping import Mapping

CODES = {"A": 0, "C": 1, "G": 2, "T": 3, "-": 4}


def mapped(reference: str, called: str, qualities: str | None = None) -> tuple[Called, Mapping]:
    """A call and its mapping, written as two gapped rows."""
    sequence = called.replace("-", "")
    call = Called("r", sequence, "5" * len(sequence) if qualities is None else qualities)
    rows = [np.array([CODES[letter] for letter in row], np.uint8) for row in (reference, called)]
    query = np.maximum(np.cumsum(rows[1] != 4) - 1, 0)
    mapping = Mapping("chr", 0, len(reference.replace("-", "")), 1, 0, len(sequence), *rows, query)
    return call, mapping


def test_errors_are_told_apart() -> None:
    read = accuracy(*mapped("ACGT-ACGTA", "ACCTTAC-TA"))
    assert (read.matches, read.mismatches, read.insertions, read.deletions) == (7, 1, 1, 1)
    assert read.identity == pytest.approx(0.7)
    assert read.coverage == 1.0


def test_an_unmapped_read_counts_as_unmapped_and_not_as_identity_0() -> None:
    call, mapping = mapped("ACGT", "ACGT")
    summary = summarise([accuracy(call, mapping), accuracy(call, None)])
    assert (summary.reads, summary.mapped, summary.unmapped_share) == (2, 1, 0.5)
    assert summary.identity_median == 1.0


def test_no_reads_have_no_figures() -> None:
    assert summarise([]).identity_median is None
    assert summarise([]).unmapped_share is None
    assert summarise([accuracy(mapped("A", "A")[0], None)]).mismatch_rate is None


def test_a_read_without_a_call_is_unmapped_too() -> None:
    summary = summarise([ReadAccuracy("a"), accuracy(*mapped("ACGT", "ACGT"))])
    assert (summary.uncalled, summary.mapped, summary.unmapped_share) == (1, 1, 0.5)


def test_overall_figures_weigh_reads_by_their_columns() -> None:
    short, long = accuracy(*mapped("AC", "AG")), accuracy(*mapped("ACGTACGT", "ACGTACGT"))
    summary = summarise([short, long])
    assert summary.identity_mean == pytest.approx(0.75)
    assert summary.identity_overall == pytest.approx(0.9)
    assert summary.mismatch_rate == pytest.approx(0.1)


def test_each_quality_is_compared_with_its_own_errors() -> None:
    tally = Tally.empty()
    # Q10 ('+') four bases, one wrong; Q20 ('5') four bases, one inserted; the deletion belongs to none.
    tally.add(*mapped("ACGTAC-GTA", "ACCTACTGT-", "++++55555"))
    assert tally.by_q[10].tolist() == [4, 1]
    assert tally.by_q[20].tolist() == [5, 1]
    ten, twenty = calibration(tally, least=4)
    assert (ten.reported, ten.bases, ten.empirical) == (10, 4, pytest.approx(6.02, abs=0.01))
    assert (twenty.reported, twenty.bases, twenty.empirical) == (20, 5, pytest.approx(6.99, abs=0.01))
    # Wilson's interval of one error in four bases: 4.6 % to 70 %.
    assert (ten.low, ten.high) == (pytest.approx(1.55, abs=0.01), pytest.approx(13.41, abs=0.01))


def test_calls_without_qualities_have_no_calibration() -> None:
    tally = Tally.empty()
    tally.add(*mapped("ACGTAC", "ACGTAC", ""))
    assert tally.by_q.sum() == 0
    assert accuracy(*mapped("ACGT", "ACGT", "")).mean_q is None


def test_the_worst_gap_is_judged_from_q5_to_q20() -> None:
    rows = [(4, 14.0), (5, 6.0), (20, 18.5), (21, 5.0)]
    assert worst_gap([Calibration(q, 1000, e, e, e) for q, e in rows]) == pytest.approx(-1.5)
    assert worst_gap([]) is None


@pytest.mark.parametrize(
    ("reference", "called", "runs"),
    [
        ("CAAAG", "CAAAG", [(3, 3, True)]),
        ("CAAAG", "CAA-G", [(3, 2, False)]),
        ("CAAA-G", "CAAAAG", [(3, 4, False)]),
        ("CAAAG", "CATAG", [(3, 3, False)]),
        ("AAAG", "AAAG", []),
        ("CAACGGT", "CAACGGT", [(2, 2, True), (2, 2, True)]),
    ],
)
def test_homopolymers_are_right_or_wrong_as_a_whole(
    reference: str, called: str, runs: list[tuple[int, int, bool]]
) -> None:
    assert homopolymers(mapped(reference, called)[1]) == [Homopolymer(*run) for run in runs]
