"""What `fiveways call` shows while it works, on a terminal only, and what it says at the end."""

import time
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from models.basecall import Basecall


@dataclass(frozen=True, slots=True)
class Summary:
    """What was called: `not_called` counts reads, files and ids that came to nothing."""

    model: str
    reads: int
    not_called: int
    samples: int
    bases: int
    seconds: float
    bases_per_s: float
    samples_per_s: float

    def document(self) -> dict[str, str | int | float]:
        """Return it as people's programs read it, times to the millisecond."""
        facts = asdict(self)
        return {name: round(fact, 3) if isinstance(fact, float) else fact for name, fact in facts.items()}

    def __str__(self) -> str:
        return (
            f"{self.reads:,} reads called by {self.model}, {self.not_called:,} not: "
            f"{self.samples:,} samples, {self.bases:,} bases in {self.seconds:.1f} s, "
            f"{self.samples_per_s:,.0f} samples/s, {self.bases_per_s:,.0f} bases/s"
        )


class CallProgress:
    """Counts calls, and shows the count inside this context manager.

    `total_bytes` is the size of the files of reads, None where it is not known.
    """

    def __init__(self, console: Console, *, total_bytes: int | None, visible: bool) -> None:
        self._began_s = time.monotonic()
        self._reads = self._samples = self._bases = 0
        self._bar = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.fields[rates]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not visible,
        )
        self._task = self._bar.add_task("calling", total=total_bytes, rates="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def count(self, call: Basecall, *, done_bytes: int) -> None:
        """Count a call; `done_bytes` of the reads are done."""
        self._reads += 1
        self._samples += call.samples
        self._bases += len(call.sequence)
        seconds = max(time.monotonic() - self._began_s, 1e-9)
        rates = (
            f"{self._reads:,} reads, {self._bases / seconds:,.0f} bases/s, "
            f"{self._samples / seconds:,.0f} samples/s"
        )
        self._bar.update(self._task, completed=done_bytes, rates=rates)

    def summary(self, model: str, *, not_called: int) -> Summary:
        """Return what was called until now."""
        seconds = max(time.monotonic() - self._began_s, 1e-9)
        return Summary(
            model=model,
            reads=self._reads,
            not_called=not_called,
            samples=self._samples,
            bases=self._bases,
            seconds=seconds,
            bases_per_s=self._bases / seconds,
            samples_per_s=self._samples / seconds,
        )
