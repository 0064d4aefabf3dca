"""Files of reads by the name they are to have."""

from pathlib import Path

from reads.errors import ReadsError
from reads.fast5 import Fast5Writer
from reads.pod5_file import Pod5Writer


def read_writer(path: Path) -> Fast5Writer | Pod5Writer:
    """Return the writer, a context manager, for a name in .fast5 or .pod5; ReadsError for others."""
    match path.suffix.lower():
        case ".fast5":
            return Fast5Writer(path)
        case ".pod5":
            return Pod5Writer(path)
    raise ReadsError(f"{path}: reads are written as .fast5 or .pod5, which its name does not end in")
