"""A file that appears whole or not at all: written under a hidden temporary name, then renamed.

The temporary name starts with a dot, so that a search for reads never finds half a file.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a name beside `path`, free to be created; rename it to `path` on success, remove it on failure.

    Raises OSError that names `path` where the folder is missing or no file can be made in it, before anything
    is written: what libraries say of it is of the temporary name, or no OSError at all.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}")
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise type(error)(f"{path} cannot be written: {error.strerror}") from error
    temporary.unlink()
    try:
        yield temporary
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
