"""Training: examples -> scores -> loss -> weights, until a time is up or a number of steps is done.

On the CPU each stream is a thread with its own examples that runs the network forwards and backwards on one
core, and their gradients are averaged; on a GPU a batch is one pass, and the next one is drawn meanwhile.
Examples depend on the seed and the step alone, and a running average of the weights is what is kept.

A checkpoint brings everything back. On the CPU, a training by steps that is stopped and resumed with the same
settings ends with the same weights, bit for bit, as one that was never stopped; by time, the learning rate
follows the clock, and it does not. Knows no files of reads and no terminal.
"""

import json
import math
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.config import ModelConfig
from models.device_loss import crf_loss_on_device, ctc_loss
from models.errors import ModelFormatError, TrainingError, device_failures
from models.examples import CENTRE, Example, Source
from models.loss import crf_loss
from models.precision import Precision, cpu_has_bf16
from reads.atomic import replacing


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How to train, for so many `seconds` or, where they are None, `steps`. `batch` is examples a step over
    all streams; `bounded_steps` is how long, at first, the lattice of a CTC-CRF is held near the known
    alignment; `decay` is of the running average of weights. `evaluate_s` is of time spent training."""

    seconds: float | None = None
    steps: int | None = None
    batch: int = 64
    streams: int = 2
    learning_rate: float = 2e-3
    warmup_steps: int = 300
    bounded_steps: int = 1000
    decay: float = 0.999
    clip: float = 2.0
    seed: int = 1
    precision: Precision = Precision.AUTO
    checkpoint_s: float = 300.0
    evaluate_s: float = 600.0
    report_steps: int = 50


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training is: `loss` is the mean since the last report, in nats a base."""

    step: int
    trained_s: float
    done: float
    """Share of the training that is behind."""
    loss: float
    learning_rate: float
    samples_per_s: float


Weights = dict[str, Tensor]


class Trainer:
    """A network, its optimiser and its average, on the way from a checkpoint to the next."""

    def __init__(
        self,
        config: ModelConfig,
        network: nn.Module,
        settings: TrainSettings,
        device: torch.device,
    ) -> None:
        """Take a network with its first weights; examples are of the config's `chunk_samples`."""
        if (settings.seconds is None) == (settings.steps is None):
            raise ValueError("a training has a number of seconds or of steps, and not both")
        self._config = config
        self._settings = settings
        self._device = device
        self._network = network.to(device).train()
        streams = settings.streams if device.type == "cpu" else 1
        self._replicas = [self._network, *(replica(network) for _ in range(streams - 1))]
        self.average: Weights = {name: value.clone() for name, value in network.state_dict().items()}
        has_bf16 = cpu_has_bf16() if device.type == "cpu" else torch.cuda.is_bf16_supported()
        self._in_bf16 = settings.precision is Precision.BF16 or (
            settings.precision is Precision.AUTO and has_bf16
        )
        self._parameters = list(network.parameters())
        self._optimisers = _optimisers(self._parameters, settings.learning_rate)
        self.step = 0
        self.trained_s = 0.0
        self.best = -math.inf
        """The best held-out figure so far, for who evaluates to keep."""

    def start_from(self, weights: Weights, where: Path) -> None:
        """Begin with these weights; ModelFormatError where they are of another architecture."""
        self._load(weights, where, "weights")
        self.average = {name: value.clone() for name, value in self._network.state_dict().items()}

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint; ModelFormatError where it is none, or of another architecture."""
        try:
            saved = torch.load(path, weights_only=True, map_location=self._device)
            network, average, optimisers = saved["network"], saved["average"], saved["optimisers"]
            step, trained_s, best = int(saved["step"]), float(saved["trained_s"]), float(saved["best"])
        except FileNotFoundError as error:
            raise ModelFormatError(f"{path}: there is no such checkpoint") from error
        except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, ValueError) as error:
            raise ModelFormatError(f"{path}: not a checkpoint of a training") from error
        self._load(network, path, "a checkpoint")
        for optimiser, state in zip(self._optimisers, optimisers, strict=True):
            optimiser.load_state_dict(state)
        self.average = average
        self.step, self.trained_s, self.best = step, trained_s, best

    def _load(self, weights: Weights, where: Path, what: str) -> None:
        try:
            self._network.load_state_dict(weights)
        except RuntimeError as error:
            first = str(error).strip().splitlines()[-1].strip()
            raise ModelFormatError(f"{where}: {what} of another architecture: {first}") from error

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        with replacing(path) as temporary:
            torch.save(
                {
                    "network": self._network.state_dict(),
                    "average": self.average,
                    "optimisers": [optimiser.state_dict() for optimiser in self._optimisers],
                    "step": self.step,
                    "trained_s": self.trained_s,
                    "best": self.best,
                    "settings": json.dumps(asdict(self._settings)),
                },
                temporary,
            )

    @property
    def done(self) -> float:
        """The share of the training that is behind, at most 1."""
        settings = self._settings
        if settings.steps is not None:
            return min(1.0, self.step / settings.steps)
        return min(1.0, self.trained_s / (settings.seconds or math.inf))

    def run(
        self,
        sources: Sequence[tuple[float, Source]],
        checkpoint: Path,
        report: Callable[[Progress], None],
        evaluate: Callable[[], None] = lambda: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Train to the end and return True, or until `should_stop` and return False; checkpoint either way.

        Sources come each with its share of the examples.
        `evaluate` is called now and then and at the end. Only the time of steps counts as trained. Raises
        DeviceError where the device fails, TrainingError where losses are not finite: the checkpoint is then
        the one before.
        """
        settings = self._settings
        losses: list[float] = []
        reported_s, saved_s, evaluated_s = (self.trained_s,) * 3
        if self._device.type == "cpu":
            torch.set_num_threads(1)  # a stream has one core
        with ThreadPoolExecutor(settings.streams) as pool, device_failures(str(self._device)):
            stepper = _Stepper(self, sources, pool)
            while self.done < 1.0 and not should_stop():
                began = time.monotonic()
                rate = self._learning_rate()
                losses.append(self._take_step(stepper, rate))
                self.trained_s += time.monotonic() - began
                if self.step % settings.report_steps == 0:
                    samples = len(losses) * settings.batch * self._config.chunk_samples
                    speed = samples / max(self.trained_s - reported_s, 1e-9)
                    loss = float(np.mean(losses))
                    report(Progress(self.step, self.trained_s, self.done, loss, rate, speed))
                    losses.clear()
                    reported_s = self.trained_s
                if self.trained_s - evaluated_s > settings.evaluate_s and self.done < 1.0:
                    evaluate()
                    evaluated_s = self.trained_s
                if self.trained_s - saved_s > settings.checkpoint_s:
                    self.save(checkpoint)
                    saved_s = self.trained_s
            finished = self.done >= 1.0
            if finished:
                evaluate()
            self.save(checkpoint)
        return finished

    def _learning_rate(self) -> float:
        settings = self._settings
        warm = min(1.0, (self.step + 1) / settings.warmup_steps)
        return settings.learning_rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * self.done)))

    def _take_step(self, stepper: "_Stepper", rate: float) -> float:
        for optimiser in self._optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
        results = stepper.gradients(self.step)
        good = [(loss, gradients) for loss, gradients in results if math.isfinite(loss)]
        if not good:
            raise TrainingError(f"step {self.step}: no example of the batch had a finite loss")
        for index, parameter in enumerate(self._parameters):
            parameter.grad = sum(gradients[index] for _, gradients in good) / len(good)  # type: ignore[assignment]
        self._share_statistics()
        torch.nn.utils.clip_grad_norm_(self._parameters, self._settings.clip)
        for optimiser in self._optimisers:
            optimiser.step()
        decay = min(self._settings.decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self._network.state_dict().items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1 - decay)
                else:
                    self.average[name].copy_(value)
        self.step += 1
        return float(np.mean([loss for loss, _ in good]))

    @torch.no_grad()
    def _share_statistics(self) -> None:
        """Give every replica the mean of the running statistics that each has of its own examples."""
        for buffers in zip(*(one.buffers() for one in self._replicas), strict=True):
            if buffers[0].is_floating_point():
                buffers[0].copy_(torch.stack(buffers).mean(dim=0))
            for other in buffers[1:]:
                other.copy_(buffers[0])

    def gradients(
        self, step: int, examples: Sequence[Example], stream: int
    ) -> tuple[float, tuple[Tensor, ...]]:
        """Return the loss of a stream's examples, and its gradients."""
        config, device = self._config, self._device
        signal = torch.from_numpy(np.stack([example.signal for example in examples]))[:, None].to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self._in_bf16):
            scores = self._replicas[stream](signal)
        scores = scores.float()
        context = max(config.state_len, CENTRE)
        sequences = [example.sequence[context - config.state_len :] for example in examples]
        if not config.state_len:
            loss = ctc_loss(scores, sequences)
        else:
            bounded = step < self._settings.bounded_steps
            bounds = [example.bounds(config.stride) if bounded else None for example in examples]
            compute = crf_loss if device.type == "cpu" else crf_loss_on_device
            loss = compute(scores, config.blank_score, sequences, bounds)
        return loss.item(), torch.autograd.grad(loss, self._parameters)

    @property
    def settings(self) -> TrainSettings:
        """How it trains."""
        return self._settings

    @property
    def passes(self) -> int:
        """How many passes a step is: one, or one a stream."""
        return len(self._replicas)


def _optimisers(parameters: Sequence[nn.Parameter], learning_rate: float) -> list[torch.optim.Optimizer]:
    """Return what moves the parameters, at one rate: Muon the matrices, AdamW all else.

    Muon (Jordan et al. 2024) makes each step of a matrix orthogonal, so that all its directions are learned
    at the same pace; scaled as by Liu et al. (2025), its steps are as large as AdamW's. From the same first
    weights and examples, it came in some 300 steps to where AdamW came in 500 (docs/TRAINING.md).
    """
    matrices = [parameter for parameter in parameters if parameter.ndim == 2]
    others = [parameter for parameter in parameters if parameter.ndim != 2]
    found: list[torch.optim.Optimizer] = []
    if matrices:
        found.append(
            torch.optim.Muon(matrices, lr=learning_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
        )
    if others:
        found.append(torch.optim.AdamW(others, lr=learning_rate, weight_decay=0.01))
    return found


def replica(network: nn.Module) -> nn.Module:
    """Return a network with the same parameters, not copies of them, and buffers of its own."""
    copy = deepcopy(network)
    for name, parameter in network.named_parameters():
        owner, _, last = name.rpartition(".")
        setattr(copy.get_submodule(owner), last, parameter)
    return copy


class _Stepper:
    """Gradients of one step after another, with the examples of a one-pass step drawn a step ahead."""

    def __init__(
        self, trainer: Trainer, sources: Sequence[tuple[float, Source]], pool: ThreadPoolExecutor
    ) -> None:
        self._trainer = trainer
        self._settings = trainer.settings
        self._sources = [source for _, source in sources]
        shares = np.array([share for share, _ in sources])
        self._shares = shares / shares.sum()
        self._pool = pool
        self._ahead: Mapping[int, list[Future[list[Example]]]] = {}

    def gradients(self, step: int) -> list[tuple[float, tuple[Tensor, ...]]]:
        trainer, streams = self._trainer, range(self._settings.streams)
        if trainer.passes > 1:
            return list(
                self._pool.map(
                    lambda stream: trainer.gradients(step, self._draw(step, stream), stream), streams
                )
            )
        drawn = self._ahead.get(step) or self._begin_drawing(step)
        self._ahead = {step + 1: self._begin_drawing(step + 1)}
        return [trainer.gradients(step, [example for part in drawn for example in part.result()], 0)]

    def _begin_drawing(self, step: int) -> list[Future[list[Example]]]:
        streams = range(self._settings.streams)
        return [self._pool.submit(self._draw, step, stream) for stream in streams]

    def _draw(self, step: int, stream: int) -> list[Example]:
        """Return a stream's examples of a step."""
        settings = self._settings
        rng = np.random.default_rng((settings.seed, step, stream))
        first, last = (settings.batch * edge // settings.streams for edge in (stream, stream + 1))
        return [
            self._sources[int(rng.choice(len(self._sources), p=self._shares))].draw(rng)
            for _ in range(last - first)
        ]
