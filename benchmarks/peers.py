"""Servers to stand beside the service, for the same work: the same caller, weights, batch limit and client.

    python -m benchmarks.peers sink|fastapi --port PORT [--model MODEL]

sink reads bodies and answers "ok" under the service's own settings of uvicorn; fastapi is what one writes in
ten minutes, FastAPI and torch without batching. The others batch requests; each is in a module of its own,
`NAME_peer`, and runs in an environment of its own, see `benchmarks.environments`.
"""

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
LONGEST_REQUEST_S = 600
PATH = "/v1/basecall"
HOST = "127.0.0.1"

Port = Annotated[int, typer.Option(help="The port to listen on.")]
Model = Annotated[str, typer.Option(help="As for fiveways serve.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes that have a model each.")]
BatchReads = Annotated[int, typer.Option(min=1, help="The most requests in a batch.")]


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

    from service.server import UVICORN, listen  # noqa: PLC0415
    from service.settings import Settings  # noqa: PLC0415

    uvicorn.Server(uvicorn.Config(app, **UVICORN)).run(sockets=listen(Settings(port=port)))


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

    app.post(PATH)(basecall)
    return app


def main(
    peer: Annotated[str, typer.Argument(help="sink or fastapi.")],
    port: Port,
    model: Model = zoo.DEFAULT,
) -> None:
    """Serve until killed."""
    match peer:
        case "sink":
            serve_app(sink, port)
        case "fastapi":
            serve_app(fastapi_app(load(model)), port)
        case _:
            raise typer.BadParameter(f"{peer!r} is neither sink nor fastapi")


if __name__ == "__main__":
    typer.run(main)
