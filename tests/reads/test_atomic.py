from pathlib import Path

import pytest

from reads.atomic import replacing


def test_a_file_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with replacing(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".")
    assert target.read_text() == "half"
    assert list(tmp_path.iterdir()) == [target]


def test_failure_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), replacing(target) as temporary:
        temporary.write_text("new")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_missing_folder_is_an_error_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder"), replacing(tmp_path / "no" / "a.txt"):
        pytest.fail("the block ran")


def test_a_folder_that_takes_no_file_is_an_error_that_names_the_file_and_not_the_temporary_one() -> None:
    with (
        pytest.raises(OSError, match=r"^/proc/a\.pod5 cannot be written: No such file"),
        replacing(Path("/proc/a.pod5")),
    ):
        pytest.fail("the block ran")
