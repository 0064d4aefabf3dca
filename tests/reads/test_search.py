import os
from pathlib import Path

import pytest

from reads.errors import ReadFileError
from reads.search import STDIN, find_files


def found(*paths: Path) -> tuple[list[Path], list[str]]:
    problems: list[ReadFileError] = []
    files = list(find_files(paths, problems.append))
    return files, [str(problem) for problem in problems]


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_folders_are_searched_in_order_of_name(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("b.pod5", "z.fast5", "a/2.blow5", "a/a/3.slow5", "c/1.fast5")]
    touch(*reversed(files), tmp_path / "notes.txt", tmp_path / "a/README")
    assert found(tmp_path) == (files, [])


def test_named_files_are_taken_whatever_their_name(tmp_path: Path) -> None:
    touch(tmp_path / "notes.txt")
    assert found(tmp_path / "notes.txt", STDIN) == ([tmp_path / "notes.txt", STDIN], [])


def test_hidden_files_and_folders_are_not_found(tmp_path: Path) -> None:
    touch(tmp_path / ".a.fast5.tmp", tmp_path / "._b.fast5", tmp_path / ".git/c.fast5", tmp_path / "d.fast5")
    assert found(tmp_path) == ([tmp_path / "d.fast5"], [])


def test_a_file_met_twice_is_given_once(tmp_path: Path) -> None:
    touch(tmp_path / "a/1.fast5")
    (tmp_path / "link.fast5").symlink_to(tmp_path / "a/1.fast5")
    assert found(tmp_path / "a", tmp_path / "a/1.fast5", tmp_path) == ([tmp_path / "a/1.fast5"], [])


def test_linked_folders_are_followed_and_may_lead_back(tmp_path: Path) -> None:
    touch(tmp_path / "far/1.fast5", tmp_path / "near/2.fast5")
    (tmp_path / "near/far").symlink_to(tmp_path / "far")
    (tmp_path / "far/near").symlink_to(tmp_path / "near")
    files, problems = found(tmp_path / "near")
    assert files == [tmp_path / "near/2.fast5", tmp_path / "near/far/1.fast5"]
    assert problems == []


def test_a_link_that_leads_nowhere_is_given_so_that_it_is_missed(tmp_path: Path) -> None:
    (tmp_path / "gone.fast5").symlink_to(tmp_path / "nothing")
    assert found(tmp_path) == ([tmp_path / "gone.fast5"], [])


def test_pipes_in_folders_are_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.fast5")
    touch(tmp_path / "b.fast5")
    assert found(tmp_path) == ([tmp_path / "b.fast5"], [])


def test_a_folder_without_reads_is_a_problem(tmp_path: Path) -> None:
    files, problems = found(tmp_path)
    assert files == []
    assert problems == [f"{tmp_path}: there is no file of reads in it (.blow5, .fast5, .pod5, .slow5)"]


@pytest.mark.skipif(os.geteuid() == 0, reason="no folder is closed to root")
def test_a_folder_that_cannot_be_listed_is_a_problem(tmp_path: Path) -> None:
    touch(tmp_path / "closed/a.fast5", tmp_path / "b.fast5")
    (tmp_path / "closed").chmod(0)
    try:
        files, problems = found(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o755)
    assert files == [tmp_path / "b.fast5"]
    assert problems == [f"{tmp_path / 'closed'}: Permission denied"]
