from dataclasses import replace

import numpy as np
import pytest
from made_reads import made_read

from models.basecall import Basecall
from models.records import fastq_record, read_group, sam_header, sam_record
from reads.read import Origin

READ = made_read(5, samples=2000, filename="a.fast5")
CALL = Basecall("ACGT", "+5?I", np.array([1, 0, 1, 1, 0, 1], np.uint8), stride=5, samples=1990)
GROUP = read_group(READ.origin, "fast@v1")


def tags_of(line: str) -> dict[str, str]:
    """Return the tags of a SAM line by name, with their types."""
    return {field[:2]: field[3:] for field in line.rstrip("\n").split("\t")[11:]}


def test_a_sam_record_is_unmapped_and_has_dorados_tags() -> None:
    line = sam_record(READ, CALL, GROUP)
    assert line.endswith("\n")
    assert line.split("\t")[:11] == [READ.read_id, "4", "*", "0", "0", "*", "*", "0", "0", "ACGT", "+5?I"]
    assert tags_of(line) == {
        "qs": f"f:{CALL.mean_q:.6g}",
        "du": "f:0.5",
        "ns": "i:2000",
        "ts": "i:10",
        "mx": "i:2",
        "ch": "i:6",
        "rn": "i:105",
        "st": "Z:2024-05-06T07:08:14.000+00:00",
        "fn": "Z:a.fast5",
        "RG": "Z:run_fast@v1",
    }


def test_the_move_table_is_written_on_request() -> None:
    assert tags_of(sam_record(READ, CALL, GROUP, with_moves=True))["mv"] == "B:c,5,1,0,1,1,0,1"
    assert "\tmv:B:c,5,1,0,1,1,0,1\n" in fastq_record(READ, CALL, GROUP, with_moves=True)


def test_what_a_file_did_not_say_is_not_written() -> None:
    silent = replace(READ, origin=Origin())
    assert read_group(silent.origin, "fast@v1") is None
    assert set(tags_of(sam_record(silent, CALL, None))) == {"qs", "du", "ns", "ts"}


@pytest.mark.parametrize(
    "origin",
    [
        replace(READ.origin, run_started="yesterday"),
        replace(READ.origin, start_sample=1 << 62),
        replace(READ.origin, start_sample=None),
    ],
)
def test_a_time_that_makes_no_sense_is_not_written(origin: Origin) -> None:
    assert "st" not in tags_of(sam_record(replace(READ, origin=origin), CALL, GROUP))


def test_numbers_that_bam_cannot_hold_are_not_written() -> None:
    origin = replace(READ.origin, read_number=1 << 31, channel=(1 << 31) - 1)
    tags = tags_of(sam_record(replace(READ, origin=origin), CALL, GROUP))
    assert "rn" not in tags
    assert tags["ch"] == "i:2147483647"


def test_no_text_ends_its_field() -> None:
    origin = replace(READ.origin, filename="a\tb\nc.fast5", run_id="r\t1", sample_id="\udcff")
    group = read_group(origin, "m")
    assert group is not None
    assert group.name == "r_1_m"
    assert tags_of(sam_record(replace(READ, origin=origin), CALL, group))["fn"] == "Z:a_b_c.fast5"
    assert sam_header([group], version="1").count("\n") == 3
    assert sam_header([group], version="1").isascii()


def test_a_fastq_record_carries_the_tags_after_its_id() -> None:
    title, sequence, plus, qualities = fastq_record(READ, CALL, GROUP).splitlines()
    assert title.split("\t")[:2] == [f"@{READ.read_id}", f"qs:f:{CALL.mean_q:.6g}"]
    assert (sequence, plus, qualities) == ("ACGT", "+", "+5?I")


def test_a_read_without_bases_is_a_record_without_sequence() -> None:
    call = Basecall("", "", np.zeros(3, np.uint8), stride=5, samples=2000)
    assert sam_record(READ, call, GROUP).split("\t")[9:11] == ["*", "*"]
    assert fastq_record(READ, call, GROUP).splitlines()[1:] == ["", "+", ""]


def test_the_header_names_each_run_and_this_program() -> None:
    assert GROUP is not None
    assert sam_header([GROUP], version="1.2.3").splitlines() == [
        "@HD\tVN:1.6\tSO:unknown",
        "@RG\tID:run_fast@v1\tPU:FLOW\tPM:MN1\tDT:2024-05-06T07:08:09+00:00\tPL:ONT"
        "\tDS:basecall_model=fast@v1 runid=run\tLB:sample\tSM:sample",
        "@PG\tID:basecaller\tPN:fiveways\tVN:1.2.3",
    ]
