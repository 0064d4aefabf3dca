from pathlib import Path

import numpy as np
import pytest

from benchmarks.identity import identity, mapped_identity, percent_identity


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


@pytest.mark.usefixtures("mappy")
def test_on_a_reference_it_is_the_mean_of_the_calls_that_map(tmp_path: Path):
    rng = np.random.default_rng(1)
    bases = "".join(rng.choice(list("ACGT"), 4000))
    (tmp_path / "r.fasta").write_text(f">r\n{bases}\n")
    wrong = "A" if bases[1500] != "A" else "C"
    off_by_one = bases[1000:1500] + wrong + bases[1501:2000]
    nowhere = "".join(rng.choice(list("ACGT"), 300))
    found = mapped_identity([bases[500:1500], off_by_one, nowhere], tmp_path / "r.fasta")
    assert found == pytest.approx(100 * (1 + 999 / 1000) / 2)
