"""Everything that lives while serving: the models, what was admitted, the phase, the counts."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Self, TypeVar

from starlette.types import Scope

from models.caller import Caller
from models.null import NullCaller
from service.admission import Admission
from service.connection import CROWDED
from service.errors import CrowdedError, UnknownModelError
from service.lifecycle import Lifecycle
from service.metrics import Metrics
from service.proof import prove
from service.served import ServedModel
from service.settings import Settings
from service.tokens import Tokens
from service.tracing import Begin, begin_untraced
from service.unpacker import Unpacker

logger = logging.getLogger(__name__)

Given = TypeVar("Given")
Made = TypeVar("Made")

Load = Callable[[str, str], Caller]
"""Makes the caller of a model (name or directory) on a device, as `models.zoo.load` does."""


class Service:
    """A context manager: the engines of its models work inside it. Not ready before `load_models`."""

    def __init__(self, settings: Settings, load: Load, begin_span: Begin = begin_untraced) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.admission = Admission(settings)
        self.lifecycle = Lifecycle()
        self.tokens = Tokens(settings.tokens) if settings.tokens else None
        self.models: dict[str, ServedModel] = {}
        """By name, the default first."""
        self.begin_span = begin_span
        self._load = load
        self.background = ThreadPoolExecutor(1, thread_name_prefix="background")
        """For what would hold up the event loop; one at a time, so that memory for it is needed once."""
        self.unpacker = Unpacker(settings)
        self._stack = ExitStack()
        self._stopping = False
        self._unproven: ServedModel | None = None

    def __enter__(self) -> Self:
        self._stack.callback(self.background.shutdown, wait=False, cancel_futures=True)
        self._stack.enter_context(self.unpacker)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def load_models(self) -> None:
        """Load the model and the null arm beside it, and prove that both call; takes seconds.

        Raises what loading raises, proof.UnprovenError and EngineError.
        """
        settings = self.settings
        self._serve(
            ServedModel(lambda device: self._load(settings.model, device), settings.devices, self.metrics)
        )
        if NullCaller.name not in self.models:
            self._serve(ServedModel(lambda _: NullCaller(), ("cpu",), self.metrics))

    def stop_loading(self) -> None:
        """Make `load_models`, in another thread, give up the proof of a model; not the loading before it."""
        self._stopping = True
        if self._unproven:
            self._unproven.close()

    def model(self, name: str) -> ServedModel:
        """Return the model of that name, or the default for an empty one. Raises UnknownModelError."""
        if not name:
            return next(iter(self.models.values()))
        try:
            return self.models[name]
        except KeyError as error:
            raise UnknownModelError(f"{name[:100]!r} is not; there are {', '.join(self.models)}") from error

    def client(self, scope: Scope) -> str:
        """Return the name under which the requests of this one's sender are counted.

        Raises UnauthorizedError where it may not call.
        """
        if self.tokens:
            return self.tokens.check(dict(scope["headers"]).get(b"authorization", b"").decode("latin-1"))
        return str(scope["client"][0]) if scope["client"] else ""

    async def run(self, work: Callable[[Given], Made], given: Given, *, in_background: bool) -> Made:
        """Return or raise what `work` makes of `given`, in another thread where that is asked for."""
        if not in_background:
            return work(given)
        return await asyncio.get_running_loop().run_in_executor(self.background, work, given)

    def check_open(self, scope: Scope) -> None:
        """Raise NotReadyError, DrainingError or CrowdedError where this request cannot be taken."""
        self.lifecycle.check_open(self._longest_backlog_s)
        if scope.get("state", {}).get(CROWDED):
            raise CrowdedError(
                f"{self.settings.max_connections} connections are open, as many as may be; use fewer",
                retry_after_s=self._longest_backlog_s(),
            )

    def backlog_s(self, model: ServedModel) -> float:
        """Return how long a new request of normal priority would wait."""
        return self.admission.backlog_samples(model.name) / model.samples_per_s

    @property
    def healthy(self) -> bool:
        """Return whether every engine works, or could."""
        return all(model.healthy for model in self.models.values())

    def _longest_backlog_s(self) -> float:
        return max(self.backlog_s(model) for model in self.models.values())

    def _serve(self, model: ServedModel) -> None:
        self._unproven = self._stack.enter_context(model)
        if self._stopping:
            model.close()
        prove(model)
        self.metrics.watch(
            model.name,
            backlog_samples=lambda: self.admission.backlog_samples(model.name),
            backlog_s=lambda: self.backlog_s(model),
            samples_per_s=lambda: model.samples_per_s,
        )
        self.models[model.name] = model
        logger.info(
            "model proven",
            extra={"model": model.name, "devices": model.devices, "samples_per_s": model.samples_per_s},
        )
