"""Servers to stand beside the service, for the same work: the same caller, weights, limits of batches and client.

    python -m benchmarks.peers sink|fastapi|litserve|mosec --port PORT [--model MODEL]

sink reads bodies and answers "ok" under the service's own settings of uvicorn; fastapi is what one writes in ten
minutes, FastAPI and torch without batching. LitServe and mosec batch requests, and are to be installed:
pip install --target FOLDER -c constraints.txt litserve mosec, and PYTHONPATH=FOLDER.
"""

import base64
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import typer

from models import zoo
from models.basecaller import call
from models.caller import Caller
from reads.read import Calibration, Read
from reads.wire import signal_from_bytes

WAIT_S = 0.01
"""How long a batch of requests is waited for."""


def answer(caller: Caller, bodies: Sequence[bytes]) -> list[dict[str, Any]]:
    """Return the calls of some bodies, called in batches of the model's size."""
    reads = [
        Read(str(number), signal_from_bytes(body), Calibration(0.0, 1.0), caller.sample_rate)
        for number, body in enumerate(bodies)
    ]
    return [
        {"bases": len(made.sequence), "sequence": made.sequence, "qstring": made.qstring}
        for _, made in call(caller, reads)
    ]


def load(model: str) -> Caller:
    """Return the caller, with everything compiled that is compiled at its first use."""
    caller = zoo.load(model)
    answer(caller, [np.zeros(2 * caller.chunk_samples, np.int16).tobytes()])
    return caller


def serve_app(app: Any, port: int) -> None:
    """Serve an ASGI application as the service is served."""
    import uvicorn  # noqa: PLC0415 - each peer has its own needs

    from service.server import CLOSE_S, KEEP_ALIVE_S, LISTEN_BACKLOG, listen  # noqa: PLC0415
    from service.settings import Settings  # noqa: PLC0415

    config = uvicorn.Config(
        app,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=CLOSE_S,
        backlog=LISTEN_BACKLOG,
    )
    uvicorn.Server(config).run(sockets=listen(Settings(port=port)))


async def sink(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001 - an ASGI application
    """Read the body, and answer as little as can be."""
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


def fastapi_app(caller: Caller) -> Any:
    """Return FastAPI with a call of its own for each request."""
    import fastapi  # noqa: PLC0415
    from starlette.concurrency import run_in_threadpool  # noqa: PLC0415

    app = fastapi.FastAPI()

    async def basecall(request: fastapi.Request) -> dict[str, Any]:
        body = await request.body()
        calls = await run_in_threadpool(answer, caller, [body])
        return calls[0]

    app.post("/v1/basecall")(basecall)
    return app


def run_litserve(model: str, port: int) -> None:
    """Serve with LitServe, which takes JSON: the signal is in base64."""
    import litserve  # noqa: PLC0415

    class Api(litserve.LitAPI):  # type: ignore[misc]  # untyped
        """The model, in LitServe's words."""

        def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's signature
            """Load the model."""
            self.caller = load(model)

        def decode_request(self, request: dict[str, str]) -> bytes:
            """Return the signal."""
            return base64.b64decode(request["signal"])

        def batch(self, inputs: list[bytes]) -> list[bytes]:
            """Leave reads of any lengths side by side."""
            return inputs

        def predict(self, bodies: list[bytes]) -> list[dict[str, Any]]:
            """Call a batch of reads."""
            return answer(self.caller, bodies)

        def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
            """Return the calls."""
            return output

        def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
            """Return one call."""
            return output

    api = Api(max_batch_size=zoo.load(model).batch_chunks, batch_timeout=WAIT_S, api_path="/v1/basecall")
    server = litserve.LitServer(api, accelerator="cpu", timeout=False)
    server.run(port=port, host="127.0.0.1", generate_client_file=False, log_level="warning")


def run_mosec(model: str, port: int) -> None:
    """Serve with mosec, whose front is Rust; raw bodies in, JSON out."""
    import mosec  # noqa: PLC0415

    class Worker(mosec.Worker):  # type: ignore[misc]  # untyped
        """The model, in mosec's words."""

        def __init__(self) -> None:
            self.caller = load(model)

        def deserialize(self, data: bytes) -> bytes:
            """Return the signal as it came."""
            return data

        def forward(self, data: list[bytes]) -> list[dict[str, Any]]:
            """Call a batch of reads."""
            return answer(self.caller, data)

    sys.argv = ["mosec", "--address", "127.0.0.1", "--port", str(port), "--timeout", "600000"]
    server = mosec.Server()
    server.append_worker(
        Worker,
        route="/v1/basecall",
        max_batch_size=zoo.load(model).batch_chunks,
        max_wait_time=int(1e3 * WAIT_S),
        timeout=600,
    )
    server.run()


def main(
    peer: Annotated[str, typer.Argument(help="sink, fastapi, litserve or mosec.")],
    port: Annotated[int, typer.Option(help="The port to listen on.")],
    model: Annotated[str, typer.Option(help="As for fiveways serve.")] = zoo.DEFAULT,
) -> None:
    """Serve until killed."""
    match peer:
        case "sink":
            serve_app(sink, port)
        case "fastapi":
            serve_app(fastapi_app(load(model)), port)
        case "litserve":
            run_litserve(model, port)
        case "mosec":
            run_mosec(model, port)
        case _:
            raise typer.BadParameter(f"{peer!r} is none of sink, fastapi, litserve, mosec")


if __name__ == "__main__":
    typer.run(main)
