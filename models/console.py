"""A training's terminal: how far it is, and the wish to stop it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType

import typer
from rich.progress import Progress as Bar

from models.train import Progress
from reads.progress import progress_bar


class TrainingBar:
    """Progress where standard error is a terminal, and lines that stay."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task = bar.add_task("training", total=1.0, rate="")

    def show(self, progress: Progress) -> None:
        """Show how far it is, the loss, and the rate."""
        rate = f"loss {progress.loss:.4f}  {progress.samples_per_s / 1e3:,.0f} ksamples/s"
        self._bar.update(self._task, completed=progress.done, rate=rate)

    def say(self, words: str) -> None:
        """Write a line above the bar."""
        if self._bar.disable:
            typer.echo(words, err=True)
        else:
            self._bar.console.print(words)


@contextmanager
def training_bar() -> Iterator[TrainingBar]:
    """Yield a bar for as long as a training takes."""
    with progress_bar() as bar:
        yield TrainingBar(bar)


@contextmanager
def stopping() -> Iterator[Event]:
    """Yield an event that the first Ctrl-C, or SIGTERM, sets; a second one ends the process as ever."""
    wish = Event()
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    def stop(_number: int, _frame: FrameType | None) -> None:
        wish.set()
        restore()

    for number in former:
        signal.signal(number, stop)
    try:
        yield wish
    finally:
        restore()
