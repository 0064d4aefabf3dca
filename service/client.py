"""A client of the service: reads in, their calls out, in the order of the reads, each called once.

Sends to any number of replicas as much as they take (`service.replicas`), and sends again what was refused or
lost. Holds a window of reads, whose size does not depend on how many there are. Requests are made
in an event loop in a thread of its own, so that whoever iterates needs none. Knows neither torch nor any web
framework.
"""

import asyncio
import math
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Self

import httpx

from models.basecall import Basecall
from reads.read import Read
from reads.wire import OCTET_STREAM, signal_to_bytes
from service import replies
from service.client_errors import (
    LostError,
    NotCalledError,
    NotServedError,
    RefusedError,
    UnreachableError,
)
from service.replicas import Replicas
from service.replies import RemoteModel
from service.tracing import Trace, begin_trace

WINDOW_READS, WINDOW_SAMPLES = 1024, 1 << 25
"""The most that is taken from the reads and not given back as calls; a longer read is taken when alone."""
PATIENCE_S = 600.0
"""How long it goes on when nothing is answered any more."""
CONNECT_S, PROBE_S, ANSWER_S = 10.0, 10.0, 600.0
"""How long may pass until a connection is there, a probe is answered, and a read is."""
ANSWER_BYTES, ANSWER_BYTES_PER_SAMPLE = 1 << 16, 8
"""The longest answer: more than two characters a sample and as many for each of its moves."""
LOOK_AGAIN_S = 1.0
"""How often a service is asked again that answers and is not ready."""
KEEP_ALIVE = [
    # A replica that is gone without a word is missed in about half a minute.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
]


class Client:
    """A client of the replicas at `urls`; makes its requests inside this context manager.

    `token` is a bearer token. A read that has no answer `deadline_s` after it was sent first is not called.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        token: str = "",
        deadline_s: float = math.inf,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._urls = [_base_url(url) for url in urls]
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._deadline_s = deadline_s
        self._patience_s = patience_s
        self._thread = threading.Thread(target=self._run, name="client", daemon=True)
        self._living: Future[asyncio.AbstractEventLoop] = Future()
        self._stop = asyncio.Event()
        self._http: httpx.AsyncClient
        self._replicas: Replicas

    def __enter__(self) -> Self:
        self._thread.start()
        self._loop = self._living.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @property
    def refusals(self) -> int:
        """Return how many requests were refused, to come again later."""
        return self._replicas.refusals

    @property
    def losses(self) -> int:
        """Return how many requests were lost with their connections."""
        return self._replicas.losses

    def model(self, name: str = "") -> RemoteModel:
        """Return the model of that name, or the default, as the first replica has it that is ready.

        Raises NotServedError where there is none, and UnreachableError where nobody answers.
        """
        return asyncio.run_coroutine_threadsafe(self._model(name), self._loop).result()

    def call(
        self,
        reads: Iterable[Read],
        model: RemoteModel,
        *,
        on_problem: Callable[[Read, NotCalledError], None],
        with_moves: bool = False,
    ) -> Iterator[tuple[Read, Basecall]]:
        """Call reads lazily and in order; `on_problem` is told of those that are not called, in order too.

        Raises NotServedError and UnreachableError.
        """
        form = replies.SAM if with_moves else replies.FASTQ
        window: deque[tuple[Read, Future[Basecall]]] = deque()
        held = 0

        def first() -> Iterator[tuple[Read, Basecall]]:
            nonlocal held
            read, outcome = window[0]
            try:
                called = [(read, outcome.result())]
            except NotCalledError as error:
                on_problem(read, error)
                called = []
            window.popleft()
            held -= len(read.signal)
            yield from called

        try:
            for number, read in enumerate(reads):
                while window and (
                    window[0][1].done()
                    or len(window) == WINDOW_READS
                    or held + len(read.signal) > WINDOW_SAMPLES
                ):
                    yield from first()
                outcome = asyncio.run_coroutine_threadsafe(
                    self._called(number, read, model, form), self._loop
                )
                window.append((read, outcome))
                held += len(read.signal)
            while window:
                yield from first()
        finally:
            for _, outcome in window:
                outcome.cancel()

    # In the event loop.

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:
            if not self._living.done():
                self._living.set_exception(error)
            raise

    async def _live(self) -> None:
        transport = httpx.AsyncHTTPTransport(
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=60.0),
            socket_options=KEEP_ALIVE,
        )
        timeout = httpx.Timeout(ANSWER_S, connect=CONNECT_S, pool=None)
        self._http = httpx.AsyncClient(transport=transport, timeout=timeout, headers=self._headers)
        async with self._http:
            self._replicas = Replicas(self._urls, self._is_ready, patience_s=self._patience_s)
            self._living.set_result(asyncio.get_running_loop())
            await self._stop.wait()
            await self._replicas.close()

    async def _called(self, number: int, read: Read, model: RemoteModel, form: str) -> Basecall:
        trace = begin_trace("")
        # It begins when the read is sent first: until then, nobody but this client is waited for.
        limit = asyncio.timeout(None)

        async def ask(url: str) -> tuple[Basecall, float]:
            if limit.when() is None and self._deadline_s < math.inf:
                limit.reschedule(asyncio.get_running_loop().time() + self._deadline_s)
            return await self._ask(url, read, model, form, trace, limit.when())

        try:
            async with limit:
                return await self._replicas.send(number, ask)
        except TimeoutError as error:
            raise NotCalledError(f"it was not called within {self._deadline_s:g} s") from error

    async def _ask(
        self, url: str, read: Read, model: RemoteModel, form: str, trace: Trace, ends_s: float | None
    ) -> tuple[Basecall, float]:
        """Send a read to a replica; see `replicas.Ask`."""
        headers = {
            "content-type": OCTET_STREAM,
            "accept": form,
            "traceparent": begin_trace(trace.traceparent).traceparent,
        }
        if ends_s is not None:
            left_s = ends_s - asyncio.get_running_loop().time()
            headers["x-deadline-ms"] = str(max(1, round(left_s * 1e3)))
        words: dict[str, str | float] = {
            "model": model.name,
            "read_id": read.read_id,
            "sample_rate": read.sample_rate,
            "offset": read.calibration.offset,
            "scale": read.calibration.scale,
        }
        request = self._http.build_request(
            "POST", url + "/v1/basecall", params=words, content=signal_to_bytes(read.signal), headers=headers
        )
        most_bytes = ANSWER_BYTES + ANSWER_BYTES_PER_SAMPLE * len(read.signal)
        response, answer = await self._exchange(request, most_bytes)
        if response.status_code != 200:
            raise _problem(response, answer)
        try:
            call = replies.basecall_of(answer, form, read.read_id)
        except ValueError as error:
            raise NotCalledError(f"{url}: {error}") from error
        return call, replies.queue_s(response.headers.get("server-timing", ""))

    async def _exchange(self, request: httpx.Request, most_bytes: int) -> tuple[httpx.Response, bytes]:
        """Return the answer to a request. Raises LostError, and NotCalledError where it does not end."""
        answer = bytearray()
        try:
            response = await self._http.send(request, stream=True)
            try:
                async for piece in response.aiter_bytes():
                    answer += piece
                    if len(answer) > most_bytes:
                        raise NotCalledError(f"the answer is longer than {most_bytes} bytes")
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            connected = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            raise LostError(str(error) or type(error).__name__, sent=connected) from error
        return response, bytes(answer)

    async def _is_ready(self, url: str) -> bool:
        try:
            return await self._ready(url)
        except LostError:
            return False

    async def _ready(self, url: str) -> bool:
        """Return whether a replica says that it is ready. Raises LostError where it says nothing."""
        request = self._http.build_request("GET", url + "/readyz", timeout=PROBE_S)
        response, _ = await self._exchange(request, ANSWER_BYTES)
        return response.status_code == 200

    async def _model(self, name: str) -> RemoteModel:
        try:
            async with asyncio.timeout(self._patience_s):
                return await self._first_model(name)
        except TimeoutError as error:
            raise UnreachableError(f"{', '.join(self._urls)}: not ready in {self._patience_s:g} s") from error

    async def _first_model(self, name: str) -> RemoteModel:
        """Ask until a replica is ready, as long as any of them answers at all."""
        while True:
            troubles = []
            for url in self._urls:
                try:
                    if await self._ready(url):
                        return await self._listed_model(url, name)
                except LostError as error:
                    troubles.append(f"{url} cannot be reached: {error}")
            if len(troubles) == len(self._urls):
                raise UnreachableError("; ".join(troubles))
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _listed_model(self, url: str, name: str) -> RemoteModel:
        request = self._http.build_request("GET", url + "/v1/models")
        response, document = await self._exchange(request, ANSWER_BYTES)
        if response.status_code != 200:
            raise NotServedError(
                f"{url}: /v1/models: {replies.refusal_of(response.status_code, document).words}"
            )
        try:
            return replies.find_model(document, name)
        except (LookupError, ValueError) as error:
            raise NotServedError(f"{url}: {error}") from error


def _base_url(text: str) -> str:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in {"http", "https"} or not url.host or url.query or url.fragment:
        raise NotServedError(f"{text!r} is no address of a service; write http://HOST:PORT")
    return text.rstrip("/")


def _problem(response: httpx.Response, body: bytes) -> Exception:
    """Return what an answer that is not 200 means: for the replica, for the whole, or for this read alone."""
    refusal = replies.refusal_of(response.status_code, body)
    said = refusal.words
    match response.status_code:
        # 429 is of the moment, as 503 is: this client, or all at its address, have too much in flight.
        case 429 | 503:
            after_s = replies.retry_after_s(response.headers.get("retry-after"))
            return RefusedError(said, after_s, not_ready=refusal.not_ready)
        case 502:
            return LostError(said)
        case 401 | 403 | 404:
            return NotServedError(f"{response.url.copy_with(query=None)}: {said}")
    return NotCalledError(said)
