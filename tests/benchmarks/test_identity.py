import pytest

from benchmarks.identity import identity, percent_identity


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("ACGTACGT", 1.0),
        ("ACGAACGT", 7 / 8),  # a mismatch
        ("ACGTTACGT", 8 / 9),  # an insertion is a column
        ("ACGACGT", 7 / 8),  # a deletion
        ("", 0.0),
    ],
)
def test_identity_is_matches_over_columns(call: str, expected: float):
    assert identity(call, "ACGTACGT") == pytest.approx(expected)


def test_the_percent_is_a_mean_over_reads():
    assert percent_identity(["ACGT", "ACGA"], ["ACGT", "ACGT"]) == pytest.approx(87.5)
