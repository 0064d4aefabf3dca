"""The service that tests of a module share, and files that they need."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_service import Running, serving


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """A service that tests of a module share."""
    with serving() as one:
        yield one


@pytest.fixture
def tokens_file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text("# people\nsesame\n\nopen barley\n")
    return path
