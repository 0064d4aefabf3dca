"""A window: the measured part of a block, or a piece of it, and what was counted in it.

In a closed loop a request belongs to the window in which it ends. In an open loop it belongs to the one in
which it was meant to start, so that requests that take long are not left out for ending late. Its bases are
spread evenly over its time in flight either way: the same mean as counting whole requests where they end,
without the noise of cutting them at the edges. Knows no clock.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from loadgen.tally import Tally


@dataclass(slots=True)
class Window:
    """What came of a window; windows of the same time in several processes merge by addition."""

    tally: Tally = field(default_factory=Tally)
    spread_bases: float = 0.0
    spread_samples: float = 0.0

    def spread(self, share: float, *, bases: int, samples: int) -> None:
        """Count the `share` of an answer's time in flight that lies in this window."""
        self.spread_bases += share * bases
        self.spread_samples += share * samples

    def merge(self, other: Self) -> None:
        """Count what `other` counted, too."""
        self.tally.merge(other.tally)
        self.spread_bases += other.spread_bases
        self.spread_samples += other.spread_samples

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Read what `dataclasses.asdict` made."""
        return cls(Tally.from_plain(plain["tally"]), plain["spread_bases"], plain["spread_samples"])


def merged_windows(windows: Iterable[Window]) -> Window:
    """Return the sum of `windows`, which stay as they are."""
    total = Window()
    for window in windows:
        total.merge(window)
    return total


def side_by_side(crews: Sequence[Sequence[Window]]) -> tuple[Window, ...]:
    """Return the windows of all `crews` together, each crew having as many of the same times."""
    return tuple(merged_windows(windows) for windows in zip(*crews, strict=True))
