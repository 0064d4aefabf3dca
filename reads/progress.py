"""How far a long command is, on standard error, and only where that is a terminal."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from reads.files import ReadStream
from reads.read import Read

Item = TypeVar("Item")


def progress_bar() -> Progress:
    """Return a bar with a rate and the time left; tasks bring a field `rate`."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def following(stream: ReadStream, what: str) -> Iterator[Read]:
    """Yield the reads of a stream, and show how much of its files is behind."""
    with progress_bar() as bar:
        total = stream.total_bytes() if not bar.disable else 0
        task = bar.add_task(what, total=total or None, rate="")
        began, samples = time.monotonic(), 0
        for read in stream:
            yield read
            samples += len(read.signal)
            speed = samples / max(time.monotonic() - began, 1e-9)
            bar.update(task, completed=stream.done_bytes, rate=f"{speed / 1e3:,.0f} ksamples/s")


def counting(
    items: Iterable[Item], what: str, total: int, size: Callable[[Item], int], unit: str
) -> Iterator[Item]:
    """Yield items, and show how many of `total` are behind and how many `unit` a second."""
    with progress_bar() as bar:
        task = bar.add_task(what, total=total, rate="")
        began, done = time.monotonic(), 0
        for item in items:
            yield item
            done += size(item)
            speed = done / max(time.monotonic() - began, 1e-9)
            bar.update(task, advance=1, rate=f"{speed / 1e3:,.0f} k{unit}/s")
