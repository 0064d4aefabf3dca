"""Others' repeats are read from CSV, or it is said on which line what is wrong."""

from pathlib import Path

import pytest

from loadgen.errors import ResultsError
from loadgen.repeats import Repeat, read_repeats

HEAD = "system,path,repeat,value,order\n"


def written(folder: Path, text: str | bytes) -> Path:
    file = folder / "others.csv"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def test_each_line_is_a_repeat_and_other_columns_are_ignored(tmp_path: Path) -> None:
    text = (
        "unit,order,value,repeat,path,system\nGb/s,3,9.41,1,direct,cilium\nGb/s,4,9.37,1, service ,cilium\n"
    )
    assert read_repeats(written(tmp_path, text)) == (
        Repeat("cilium", "direct", 1, 9.41, 3),
        Repeat("cilium", "service", 1, 9.37, 4),
    )


def test_spreadsheets_marks_and_empty_lines_are_no_harm(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbf" + (HEAD + "a,x,1,2.5,\n,,,,\n\na,x,2,2.6,\n").encode().replace(b"\n", b"\r\n")
    assert [repeat.order for repeat in read_repeats(written(tmp_path, text))] == [None, None]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "has no column system, path, repeat, value, order; its first line must be"),
        ("system;path;repeat;value;order\na;x;1;2;3\n", "has no column system, path"),
        ("system,path,repeat,value\na,x,1,2\n", "has no column order"),
        (HEAD, "has no measurements"),
        (HEAD + "a,x,1,2,1\n,x,2,2,2\n", "line 3: system is empty"),
        (HEAD + "a,,1,2,1\n", "line 2: path is empty"),
        (HEAD + "a,x,first,2,1\n", "line 2: repeat is 'first', and must be a whole number"),
        (HEAD + "a,x,1,fast,1\n", "line 2: value is 'fast', and must be a number"),
        (HEAD + "a,x,1,,1\n", "line 2: value is '', and must be a number"),
        (HEAD + "a,x,1,0,1\n", "line 2: value is 0, and must be finite and more than 0"),
        (HEAD + "a,x,1,inf,1\n", "line 2: value is inf, and must be finite"),
        (HEAD + "a,x,1,2,soon\n", "line 2: order is 'soon'"),
        (HEAD + "a,x,1,2,1\na,x,1,3,2\n", "line 3: repeat 1 of x of a is on line 2 already"),
        (HEAD + "a,x,1,2,7\na,y,1,3,7\n", "line 3: order 7 of a is on line 2 already"),
        (HEAD + "a,x,1,2,1\na,x,2,3,\n", "gives the order of some measurements of a and not of others"),
        (HEAD + 'a,x,1,"2,1\n', "is not CSV in UTF-8"),
        ((HEAD + "a,é,1,2,1\n").encode("latin-1"), "is not CSV in UTF-8"),
    ],
)
def test_what_is_wrong_is_said_with_what_would_be_right(
    text: str | bytes, complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(ResultsError) as caught:
        read_repeats(written(tmp_path, text))
    assert complaint in str(caught.value)


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="cannot be read: No such file"):
        read_repeats(tmp_path / "none.csv")
