"""Ray Serve on the same work, see `benchmarks.peers`: raw bodies in, batched by serve.batch, JSON out.

With what its documentation advises for throughput: HAProxy before the replicas,
RAY_SERVE_THROUGHPUT_OPTIMIZED, no access log, and requests in flight for two batches, so that the next one
waits at the replica.
"""

import asyncio
import os
import signal
from importlib import import_module
from typing import Any

import typer

from benchmarks.peers import HOST, PATH, WAIT_S, BatchReads, Model, Port, Workers, answer, load
from models import zoo

os.environ |= {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}
# After that: it reads the environment when it is imported.
ray: Any = import_module("ray")
serve: Any = import_module("ray.serve")


def deployment(model: str, workers: int, batch_reads: int) -> Any:
    """Return the model, in Ray Serve's words."""

    @serve.deployment(
        num_replicas=workers,
        max_ongoing_requests=2 * batch_reads,
        ray_actor_options={"num_cpus": 0},
        logging_config={"enable_access_log": False},
    )
    class Basecaller:
        def __init__(self) -> None:
            self._caller = load(model)

        @serve.batch(max_batch_size=batch_reads, batch_wait_timeout_s=WAIT_S)
        async def _answer(self, bodies: list[bytes]) -> list[dict[str, Any]]:
            # Beside the event loop, which meanwhile takes the next requests.
            return await asyncio.to_thread(answer, self._caller, bodies)

        async def __call__(self, request: Any) -> Any:
            return await self._answer(await request.body())

    return Basecaller.bind()


def main(port: Port, model: Model = zoo.DEFAULT, workers: Workers = 2, batch_reads: BatchReads = 16) -> None:
    """Serve until killed."""
    # Workers have the caller's threads, not a number that Ray derives from its own count of cores.
    ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
    serve.start(http_options={"host": HOST, "port": port})
    serve.run(deployment(model, workers, batch_reads), route_prefix=PATH)
    # Ray ends what it has started when this process exits, which its handler of SIGTERM makes it do.
    signal.pause()


if __name__ == "__main__":
    typer.run(main)
