"""What current a pore shows for each k-mer, how long it dwells there, and how noisy it is.

Levels are in the unit of the read's own median and MAD (times 1.4826), so that a scaling per read is all
that stands between them and pA. The tables shipped beside this file were estimated by `reads.estimate`; they
are this project's own.
"""

import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reads.atomic import replacing
from reads.errors import ReadFileError

CHEMISTRIES = ("r9.4.1",)
"""Those whose tables are shipped."""
LONGEST_DWELL = 120
"""Longest dwell that the table tells apart, in samples."""


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """One chemistry. `means`, `spreads` float32 [4**k]: a k-mer's level, and how it varies from one visit
    to the next; `dwell` float64 [LONGEST_DWELL]: probability of 1, 2, ... samples; noise inside a visit is
    white (`white_sd`) plus first-order autoregressive (`slow_sd`, `slow_rho`). `centre_pa` and `width_pa`
    are the typical median and MAD of a read in pA."""

    k: int
    means: NDArray[np.float32]
    spreads: NDArray[np.float32]
    dwell: NDArray[np.float64]
    white_sd: float
    slow_sd: float
    slow_rho: float
    centre_pa: float
    width_pa: float
    sample_rate: float

    @classmethod
    def load(cls, path: Path) -> "Levels":
        """Read a table that `save` wrote; ReadFileError where it is none."""
        try:
            with np.load(path, allow_pickle=False) as table:
                scalars = {name: table[name].item() for name in _SCALARS}
                loaded = cls(**{name: table[name] for name in _ARRAYS}, **scalars)
        except FileNotFoundError as error:
            raise ReadFileError(path, "there is no such file") from error
        except (OSError, EOFError, ValueError, KeyError, AttributeError, zipfile.BadZipFile) as error:
            raise ReadFileError(path, f"not a table of levels: {error}") from error
        if not loaded.means.shape == loaded.spreads.shape == (4**loaded.k,):
            raise ReadFileError(path, f"not a table of levels: {loaded.k}-mers have no {loaded.means.shape}")
        return loaded

    def save(self, path: Path) -> None:
        """Write the table as .npz, whole or not at all."""
        columns: dict[str, Any] = {name: np.asarray(getattr(self, name)) for name in (*_ARRAYS, *_SCALARS)}
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **columns)


_ARRAYS = ("means", "spreads", "dwell")
_SCALARS = ("k", "white_sd", "slow_sd", "slow_rho", "centre_pa", "width_pa", "sample_rate")


@cache
def chemistry(name: str = CHEMISTRIES[0]) -> Levels:
    """Return the levels of a shipped chemistry, or those in a file whose name ends in .npz.

    ValueError says which are shipped, ReadFileError what is wrong with a file.
    """
    if name.endswith(".npz"):
        return Levels.load(Path(name))
    if name not in CHEMISTRIES:
        # An R10.4.1 table would have to be copied: of that pore we have reads, and the sequence of none.
        raise ValueError(
            f"no chemistry {name!r}; there is {', '.join(CHEMISTRIES)}: tables are estimated from reads of "
            "known sequence, and this project has them of no other. A table of your own (.npz, from "
            "`fiveways train levels`) may be named instead"
        )
    return Levels.load(Path(__file__).parent / f"{name}.npz")
