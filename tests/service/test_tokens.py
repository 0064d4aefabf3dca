"""Bearer tokens: who may call, and when the file counts."""

from pathlib import Path

import pytest

from service.errors import UnauthorizedError
from service.tokens import Tokens


def test_the_tokens_of_the_file_may_call(tokens_file: Path) -> None:
    tokens = Tokens(tokens_file)
    names = [
        tokens.check(f"{scheme} {token}")
        for scheme in ("Bearer", "bearer")
        for token in ("sesame", "open barley")
    ]
    assert names[0] == names[2] != names[1] == names[3]
    assert not any("sesame" in name for name in names)


@pytest.mark.parametrize(
    "field", ["", "Bearer", "Bearer ", "Bearer sesam", "Basic sesame", "sesame", "Bearer # people"]
)
def test_others_may_not(tokens_file: Path, field: str) -> None:
    with pytest.raises(UnauthorizedError):
        Tokens(tokens_file).check(field)


def test_a_change_of_the_file_counts_at_once(tokens_file: Path) -> None:
    tokens = Tokens(tokens_file)
    tokens_file.write_text("another\n")
    tokens.check("Bearer another")
    with pytest.raises(UnauthorizedError):
        tokens.check("Bearer sesame")


def test_a_file_that_is_gone_leaves_its_last_tokens(tokens_file: Path) -> None:
    tokens = Tokens(tokens_file)
    tokens_file.unlink()
    assert tokens.check("Bearer sesame")
