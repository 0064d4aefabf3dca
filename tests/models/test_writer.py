import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pysam
import pytest
from made_calls import CALLS

from models.basecall import Basecall
from models.records import fastq_record, read_group
from models.writer import STDOUT, CallFormat, CallWriter, call_format
from reads.read import Read

HERE = Path(__file__).parents[1]


def write(path: Path, calls: list[tuple[Read, Basecall]], *, with_moves: bool = False) -> Path:
    with CallWriter(path, call_format(path), "m@1", with_moves=with_moves) as writer:
        for read, call in calls:
            writer.write(read, call)
    return path


@pytest.fixture(params=["calls.sam", "calls.bam"])
def alignments(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[pysam.AlignmentFile]:
    path = write(tmp_path / request.param, CALLS, with_moves=True)
    with pysam.AlignmentFile(str(path), check_sq=False) as file:
        yield file


def test_pysam_reads_back_what_was_called(alignments: pysam.AlignmentFile) -> None:
    for record, (read, call) in zip(alignments.fetch(until_eof=True), CALLS, strict=True):
        assert record.query_name == read.read_id
        assert record.is_unmapped
        assert (record.query_sequence or "") == call.sequence
        assert (record.qual or "") == call.qstring
        assert record.get_tag("qs") == pytest.approx(call.mean_q, rel=1e-5)
        assert record.get_tag("du") == pytest.approx(read.duration_s)
        assert record.get_tag("ns") == len(read.signal)
        assert record.get_tag("ts") == 0
        assert record.get_tag("ch") == read.origin.channel
        assert record.get_tag("mx") == read.origin.mux
        assert record.get_tag("rn") == read.origin.read_number
        assert str(record.get_tag("st")).startswith("2024-05-06T07:08:")
        assert list(record.get_tag("mv")) == [5, *call.moves]
        assert record.get_tag("RG") == f"{read.origin.run_id}_m@1"


def test_the_header_of_a_file_names_runs_that_were_met_late(alignments: pysam.AlignmentFile) -> None:
    header = alignments.header.to_dict()
    assert [group["ID"] for group in header["RG"]] == ["run_m@1", "second_m@1"]
    assert [program["PN"] for program in header["PG"]] == ["fiveways"]


@pytest.mark.parametrize("name", ["calls.fastq", "calls.fq"])
def test_fastq_has_a_record_a_read(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, CALLS)
    assert path.read_text() == "".join(
        fastq_record(read, call, read_group(read.origin, "m@1")) for read, call in CALLS
    )
    with pysam.FastxFile(str(path)) as file:
        assert [record.name for record in file] == [read.read_id for read, _ in CALLS]


@pytest.mark.parametrize("name", ["none.fastq", "none.sam", "none.bam"])
def test_no_reads_make_a_valid_empty_file(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [])
    if name.endswith("fastq"):
        assert path.read_text() == ""
    else:
        with pysam.AlignmentFile(str(path), check_sq=False) as file:
            assert list(file.fetch(until_eof=True)) == []


@pytest.mark.parametrize("name", ["calls.fastq", "calls.sam", "calls.bam"])
def test_a_run_that_fails_leaves_what_was_there(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("old")
    with pytest.raises(RuntimeError), CallWriter(path, call_format(path), "m@1") as writer:
        writer.write(*CALLS[0])
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_an_error_before_anything_is_called(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError, match="there is no folder"),
        CallWriter(tmp_path / "no/calls.sam", CallFormat.SAM, "m@1"),
    ):
        pytest.fail("the block ran")


def test_other_names_are_refused_with_what_would_be_right() -> None:
    with pytest.raises(ValueError, match=r"calls\.txt: .* \.fastq, \.sam, \.bam"):
        call_format(Path("calls.txt"))


@pytest.mark.parametrize("form", CallFormat)
def test_stdout_carries_the_records_and_nothing_else(tmp_path: Path, form: CallFormat) -> None:
    done = subprocess.run(stdout_command(form, repeats=1), capture_output=True, cwd=HERE, check=True)
    assert done.stderr == b"left the block\n"
    written = tmp_path / "calls"
    written.write_bytes(done.stdout)
    if form is CallFormat.FASTQ:
        assert written.read_bytes() == write(tmp_path / "calls.fastq", CALLS).read_bytes()
        return
    with pysam.AlignmentFile(str(written), check_sq=False) as file:
        groups = [group["ID"] for group in file.header.to_dict()["RG"]]
        records = list(file.fetch(until_eof=True))
    assert [record.query_name for record in records] == [read.read_id for read, _ in CALLS]
    # The header was written before the second run was met.
    assert groups == ["run_m@1"]
    assert [record.has_tag("RG") for record in records] == [True, True, False]


@pytest.mark.parametrize("form", CallFormat)
def test_a_broken_pipe_ends_the_block_in_silence(form: CallFormat) -> None:
    with subprocess.Popen(
        stdout_command(form, repeats=1_000_000), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=HERE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(100)
        process.stdout.close()
        assert process.stderr.read() == b"left the block\n"
    assert process.returncode == 0


def test_a_broken_pipe_of_something_else_is_no_end_of_output(tmp_path: Path) -> None:
    with pytest.raises(BrokenPipeError), CallWriter(STDOUT, CallFormat.FASTQ, "m@1"):
        raise BrokenPipeError


def test_a_full_disk_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from made_calls import CALLS; from models.writer import *\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))\n"
        "path = Path(sys.argv[1])\n"
        "try:\n"
        "    with CallWriter(path, call_format(path), 'm@1') as writer:\n"
        "        for read, call in CALLS * 2_000: writer.write(read, call)\n"
        "except OSError: print('refused')"
    )
    for name in ("calls.fastq", "calls.sam", "calls.bam"):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / name)], capture_output=True, cwd=HERE, check=True
        )
        assert (done.stdout, done.stderr) == (b"refused\n", b"")
    assert list(tmp_path.iterdir()) == []


def stdout_command(form: CallFormat, *, repeats: int) -> list[str]:
    """Return the command of a process that writes CALLS to its stdout, `repeats` times."""
    code = (
        "import sys; from made_calls import CALLS; from models.writer import *\n"
        f"with CallWriter(STDOUT, CallFormat.{form.name}, 'm@1') as writer:\n"
        f"    for _ in range({repeats}):\n"
        "        for read, call in CALLS: writer.write(read, call)\n"
        "print('left the block', file=sys.stderr)"
    )
    return [sys.executable, "-c", code]
