"""A training in its folder: a config in; a checkpoint, a log, its plot, and weights out.

The weights written are the averaged ones of the evaluation that called the held-out reads best, so that they
are there from the first evaluation on.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from models.basecaller import Basecaller
from models.config import ModelConfig, load_config
from models.errors import ModelFormatError, TrainingError
from models.figures import training
from models.material import HeldOut, judge
from models.network import Network
from models.train import Progress, Trainer, Weights
from models.zoo import find, write_weights
from reads.atomic import replacing
from reads.levels import Levels


@dataclass(frozen=True, slots=True)
class Judged:
    """A line of the log: how well the averaged weights called the held-out reads, and whether they are kept
    as the best ones so far."""

    step: int
    trained_s: float
    reads: int
    mapped: int
    identity_median: float | None
    identity_mean: float | None
    kept: bool

    @property
    def words(self) -> str:
        """The evaluation as people read it."""
        identity = f"{100 * (self.identity_median or 0.0):.2f} %"
        return (
            f"step {self.step}, {self.trained_s / 3600:.2f} h: held-out identity {identity} median, "
            f"{self.mapped} of {self.reads} mapped{'; kept' if self.kept else ''}"
        )


class Training:
    """The files of a training, and how its network is judged."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        """Take a folder with a config.toml. Raises ModelFormatError."""
        self.config: ModelConfig = load_config(folder)
        self.checkpoint = folder / "checkpoint.pt"
        self.weights = folder / "weights.safetensors"
        self.log = folder / "train.jsonl"
        self.plot = folder / "train.svg"
        self._device = device

    def check_rate(self, levels: Levels) -> None:
        """Raise TrainingError where the model takes reads of another sample rate than the levels are of."""
        if self.config.sample_rate != levels.sample_rate:
            raise TrainingError(
                f"{self.config.name} takes reads of {self.config.sample_rate:g} Hz, "
                f"and the levels are of {levels.sample_rate:g} Hz"
            )

    def begin(self, trainer: Trainer, start_from: str | None) -> None:
        """Begin anew, from random weights or those of a model; TrainingError where there was a beginning."""
        if self.checkpoint.exists():
            raise TrainingError(
                f"{self.checkpoint}: a training was begun here: --resume goes on with it, or remove the file"
            )
        if self.weights.exists():
            raise TrainingError(f"{self.weights}: there are weights here already: train in another folder")
        if start_from:
            where = find(start_from) / "weights.safetensors"
            trainer.start_from(read_tensors(where), where)
        self.log.unlink(missing_ok=True)

    def resume(self, trainer: Trainer) -> None:
        """Go on from the checkpoint; lines of the log that came after it are forgotten."""
        trainer.resume(self.checkpoint)
        kept = [line for line in self.lines() if line["step"] <= trainer.step]
        with replacing(self.log) as temporary:
            temporary.write_text("".join(f"{json.dumps(line)}\n" for line in kept))

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of the log; a last one that was cut off is left out."""
        found = []
        for line in self.log.read_text().splitlines() if self.log.exists() else []:
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return found

    def record(self, item: Progress | Judged) -> None:
        """Add a line to the log."""
        kind = "evaluation" if isinstance(item, Judged) else "progress"
        with self.log.open("a") as log:
            log.write(f"{json.dumps({'kind': kind, **asdict(item)})}\n")

    def evaluate(self, trainer: Trainer, held_out: Sequence[HeldOut]) -> Judged:
        """Judge the averaged weights, keep them if they are the best, and draw the log."""
        network = Network(list(self.config.layers))
        network.load_state_dict(trainer.average)
        judgement = judge(Basecaller(self.config, network, self._device), held_out)
        kept = judgement.figure > trainer.best
        if kept:
            write_weights({name: value.cpu() for name, value in trainer.average.items()}, self.weights)
            trainer.best = judgement.figure
        judged = Judged(
            step=trainer.step,
            trained_s=trainer.trained_s,
            reads=judgement.reads,
            mapped=judgement.mapped,
            identity_median=judgement.identity_median,
            identity_mean=judgement.identity_mean,
            kept=kept,
        )
        self.record(judged)
        self.draw()
        return judged

    def draw(self) -> None:
        """Draw the log."""
        with replacing(self.plot) as temporary:
            temporary.write_text(training(self.lines()), encoding="utf-8")

    def best_evaluation(self) -> Mapping[str, Any] | None:
        """Return the line of the evaluation whose weights were written, None where there is none yet."""
        kept = [line for line in self.lines() if line["kind"] == "evaluation" and line["kept"]]
        return kept[-1] if kept else None


def read_tensors(path: Path) -> Weights:
    """Return the tensors of a safetensors file in 32 bits. Raises ModelFormatError."""
    try:
        tensors: Weights = load_file(path)
    except Exception as error:
        # safetensors' own SafetensorError derives from Exception alone.
        raise ModelFormatError(f"{path}: cannot be read: {error}") from error
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def reporter(
    trainer: Trainer,
    folder: Training,
    held_out: Sequence[HeldOut],
    show: Callable[[Progress], None],
    say: Callable[[str], None],
) -> tuple[Callable[[Progress], None], Callable[[], None]]:
    """Return what `Trainer.run` reports to and evaluates by: both are logged, and shown or said."""

    def report(progress: Progress) -> None:
        folder.record(progress)
        show(progress)

    def evaluate() -> None:
        say(folder.evaluate(trainer, held_out).words)

    return report, evaluate
