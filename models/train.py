"""Training: examples -> scores -> CTC-CRF loss -> weights, until a time is up.

Each stream is a thread with its own examples that runs the network forwards and backwards on one core;
their gradients are averaged. A running average of the weights is what is kept. Checkpoints resume exactly
where they were but for the examples, which are drawn anew.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from models.config import ModelConfig
from models.errors import ModelFormatError
from models.examples import Source
from models.loss import crf_loss
from models.network import Network


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How to train. `batch` is examples a step over all streams; `bounded_steps` is how long, at first, the
    lattice is held near the known alignment; `decay` is of the running average of weights."""

    seconds: float
    batch: int = 64
    streams: int = 2
    learning_rate: float = 2e-3
    warmup_steps: int = 300
    bounded_steps: int = 1000
    decay: float = 0.999
    clip: float = 2.0
    seed: int = 1
    checkpoint_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Progress:
    """One line of the log: `loss` is the mean since the last line, in nats a base."""

    step: int
    trained_s: float
    loss: float
    learning_rate: float
    samples_per_s: float


class Trainer:
    """A network, its optimiser and its average, on the way from a checkpoint to the next."""

    def __init__(
        self, config: ModelConfig, sources: Sequence[tuple[float, Source]], settings: TrainSettings
    ) -> None:
        torch.manual_seed(settings.seed)
        self._config = config
        self._sources = [source for _, source in sources]
        shares = np.array([share for share, _ in sources])
        self._shares = shares / shares.sum()
        self._settings = settings
        self.network = Network(list(config.layers))
        self.average = {name: value.clone() for name, value in self.network.state_dict().items()}
        self._parameters = list(self.network.parameters())
        self._optimiser = torch.optim.AdamW(self._parameters, lr=settings.learning_rate, weight_decay=0.01)
        self._step = 0
        self._trained_s = 0.0

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint; ModelFormatError where it is of another architecture."""
        saved = torch.load(path, weights_only=True)
        try:
            self.network.load_state_dict(saved["network"])
        except RuntimeError as error:
            first = str(error).strip().splitlines()[-1].strip()
            raise ModelFormatError(f"{path}: a checkpoint of another architecture: {first}") from error
        self._optimiser.load_state_dict(saved["optimiser"])
        self.average = saved["average"]
        self._step, self._trained_s = saved["step"], saved["trained_s"]

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        partial = path.with_suffix(".partial")
        torch.save(
            {
                "network": self.network.state_dict(),
                "average": self.average,
                "optimiser": self._optimiser.state_dict(),
                "step": self._step,
                "trained_s": self._trained_s,
                "settings": json.dumps(asdict(self._settings)),
            },
            partial,
        )
        partial.replace(path)

    def run(self, checkpoint: Path, report: Callable[[Progress], None], every: int = 50) -> None:
        """Train until the time is up, checkpointing to `checkpoint`; NaN losses end it with RuntimeError."""
        settings = self._settings
        torch.set_num_threads(1)
        losses: list[float] = []
        saved_at = reported_at = time.monotonic()
        with ThreadPoolExecutor(settings.streams) as pool:
            while self._trained_s < settings.seconds:
                began = time.monotonic()
                rate = self._learning_rate()
                for group in self._optimiser.param_groups:
                    group["lr"] = rate
                losses.append(self._train_step(pool))
                self._step += 1
                now = time.monotonic()
                self._trained_s += now - began
                if self._step % every == 0:
                    samples = every * settings.batch * self._config.chunk_samples
                    speed = samples / (now - reported_at)
                    report(Progress(self._step, self._trained_s, float(np.mean(losses)), rate, speed))
                    losses.clear()
                    reported_at = now
                if now - saved_at > settings.checkpoint_s:
                    self.save(checkpoint)
                    saved_at = now
        self.save(checkpoint)

    def _learning_rate(self) -> float:
        settings = self._settings
        warm = min(1.0, (self._step + 1) / settings.warmup_steps)
        done = min(1.0, self._trained_s / settings.seconds)
        return settings.learning_rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))

    def _train_step(self, pool: ThreadPoolExecutor) -> float:
        streams = self._settings.streams
        results = list(pool.map(self._gradients, range(streams)))
        good = [(loss, grads) for loss, grads in results if math.isfinite(loss)]
        if not good:
            raise RuntimeError(f"step {self._step}: no example of the batch had a finite loss")
        for index, parameter in enumerate(self._parameters):
            parameter.grad = sum(grads[index] for _, grads in good) / len(good)  # type: ignore[assignment]
        torch.nn.utils.clip_grad_norm_(self._parameters, self._settings.clip)
        self._optimiser.step()
        decay = min(self._settings.decay, (1 + self._step) / (10 + self._step))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self.average[name].lerp_(value, 1 - decay)
        return float(np.mean([loss for loss, _ in good]))

    def _gradients(self, stream: int) -> tuple[float, tuple[torch.Tensor, ...]]:
        settings, config = self._settings, self._config
        rng = np.random.default_rng((settings.seed, self._step, stream))
        examples = [
            self._sources[int(rng.choice(len(self._sources), p=self._shares))].draw(rng)
            for _ in range(settings.batch // settings.streams)
        ]
        signal = torch.from_numpy(np.stack([example.signal for example in examples]))[:, None]
        bounded = self._step < settings.bounded_steps
        with torch.autocast("cpu", torch.bfloat16):
            scores = self.network(signal)
        loss = crf_loss(
            scores.float(),
            config.blank_score,
            [example.sequence for example in examples],
            [example.bounds(config.stride) if bounded else None for example in examples],
        )
        return loss.item(), torch.autograd.grad(loss, self._parameters)
