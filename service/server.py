"""From settings to an exit status: the listening sockets, the HTTP server, and the signals that end it.

The first SIGTERM or SIGINT drains, a second one stops at once. While it drains, the service still listens, so
that those who have not heard of it yet are told.
"""

import asyncio
import logging
import os
import signal
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import FrameType
from typing import Any

import uvicorn

from models.errors import ModelError, UnknownModelError
from service.app import create_app
from service.connection import guarded_protocol
from service.errors import EngineError
from service.lifecycle import Phase
from service.proof import UnprovenError
from service.service import Load, Service
from service.settings import Settings
from service.spans import TracesError, traces
from service.tls import server_context

logger = logging.getLogger(__name__)

KEEP_ALIVE_S = 75
"""How long an idle connection is kept: longer than clients keep theirs, so that it is they who close it."""
CLOSE_S = 5
"""How long connections may take to close at the end."""
LISTEN_BACKLOG = 2048
UVICORN: dict[str, Any] = {
    "http": "httptools",
    "loop": "uvloop",
    "ws": "none",
    "lifespan": "off",
    "log_config": None,
    "access_log": False,
    "proxy_headers": False,
    "server_header": False,
    "timeout_keep_alive": KEEP_ALIVE_S,
    "timeout_graceful_shutdown": CLOSE_S,
    "backlog": LISTEN_BACKLOG,
}
"""uvicorn's settings, whatever it serves; what is measured beside the service is served with them, too."""
FAILED, USED_WRONGLY, INTERRUPTED = 1, 2, 130


class ServeError(Exception):
    """The service cannot be started; the message is one line, `status` the exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def listen(settings: Settings) -> list[socket.socket]:
    """Return the listening sockets: those inherited, or else one on host and port. Raises ServeError."""
    if settings.fds:
        return [_inherited(fd) for fd in settings.fds]
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With the protocol named, asyncio turns Nagle's algorithm off: an answer's tail does not wait for an
        # acknowledgement.
        listener = socket.socket(family, kind, socket.IPPROTO_TCP)
    except OSError as error:
        raise ServeError(
            f"{settings.host} is no address to listen on: {error.strerror}", USED_WRONGLY
        ) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(LISTEN_BACKLOG)
    except OSError as error:
        listener.close()
        raise ServeError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror}; choose another --port",
            FAILED,
        ) from error
    return [listener]


def url_of(listener: socket.socket, scheme: str) -> str:
    """Return the URL that a listening socket answers on."""
    host, port = listener.getsockname()[:2]
    return (
        f"{scheme}://[{host}]:{port}" if listener.family == socket.AF_INET6 else f"{scheme}://{host}:{port}"
    )


def run(settings: Settings, load: Load, ready: Callable[[str, Sequence[str]], None]) -> int:
    """Serve until told to stop; return the exit status.

    `ready` is called once, with the model's name and the URLs, when requests are taken. Raises ServeError.
    """
    with ExitStack() as stack:
        listeners = [stack.enter_context(listener) for listener in listen(settings)]
        try:
            begin_span = stack.enter_context(traces(os.environ))
        except TracesError as error:
            raise ServeError(str(error), USED_WRONGLY) from error
        server = SignalledServer(stack.enter_context(Service(settings, load, begin_span)))
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            return runner.run(server.live(listeners, ready))


class SignalledServer(uvicorn.Server):
    """A server that loads its models while it listens already, and drains when it is told to stop.

    Raises ServeError where the certificate cannot be used.
    """

    def __init__(self, service: Service) -> None:
        config = uvicorn.Config(
            create_app(service),
            **UVICORN | {"http": guarded_protocol(service.settings)},
        )
        config.load()
        config.ssl = _tls(service.settings)
        super().__init__(config)
        self._service = service
        self._signals: asyncio.Queue[int] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Note a signal; called between any two instructions of the main thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._signals.put_nowait, sig)

    async def live(self, listeners: list[socket.socket], ready: Callable[[str, Sequence[str]], None]) -> int:
        """Serve until told to stop; see `run`."""
        self._loop = asyncio.get_running_loop()
        scheme = "https" if self._service.settings.tls_cert else "http"
        urls = [url_of(listener, scheme) for listener in listeners]
        serving = asyncio.create_task(self.serve(sockets=listeners))
        signalled = asyncio.create_task(self._signals.get())
        try:
            if await self._load_models(signalled):
                self._service.lifecycle.phase = Phase.READY
                ready(self._service.model("").name, urls)
            return await self._end(await signalled)
        finally:
            signalled.cancel()
            self.should_exit = True
            await serving

    async def _load_models(self, signalled: asyncio.Task[int]) -> bool:
        """Load in the background; return whether that was done before a signal came. Raises ServeError."""
        service = self._service
        loading = asyncio.get_running_loop().run_in_executor(service.background, service.load_models)
        await asyncio.wait((loading, signalled), return_when=asyncio.FIRST_COMPLETED)
        if not loading.done():
            service.stop_loading()
            await asyncio.wait((loading,))
        if signalled.done():
            return False
        try:
            loading.result()
        except UnknownModelError as error:
            raise ServeError(str(error), USED_WRONGLY) from error
        except (ModelError, UnprovenError, EngineError) as error:
            name = service.settings.model or "the default model"
            raise ServeError(f"{name}: {error}", FAILED) from error
        return True

    async def _end(self, first: int) -> int:
        """Drain, after the `first` signal, until a second one; return the exit status."""
        lifecycle, settings = self._service.lifecycle, self._service.settings
        logger.info("draining", extra={"signal": signal.Signals(first).name, "drain_s": settings.drain_s})
        draining = asyncio.create_task(lifecycle.drain(settings.drain_s))
        again = asyncio.create_task(self._signals.get())
        await asyncio.wait((draining, again), return_when=asyncio.FIRST_COMPLETED)
        last = again.result() if again.done() else first
        drained = draining.done() and draining.result()
        draining.cancel()
        again.cancel()
        if not drained:
            logger.warning("stopping with requests in flight", extra={"requests": lifecycle.requests})
            await lifecycle.stop()
        if last == signal.SIGINT:
            return INTERRUPTED
        return 0 if drained else FAILED


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    try:
        return server_context(settings.tls_cert, settings.tls_key)
    except OSError as error:
        why = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        raise ServeError(
            f"--tls-cert {settings.tls_cert} and --tls-key {settings.tls_key} cannot be used: {why}",
            USED_WRONGLY,
        ) from error


def _inherited(fd: int) -> socket.socket:
    try:
        listener = socket.socket(fileno=fd)
        listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ServeError(f"--fd {fd} is no inherited socket: {error.strerror}", USED_WRONGLY) from error
    if not listening:
        raise ServeError(f"--fd {fd} is a socket that does not listen", USED_WRONGLY)
    return listener
