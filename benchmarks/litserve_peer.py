"""LitServe on the same work, see `benchmarks.peers`: it takes JSON, so the signal is in base64.

Its own file, because its workers are spawned and import it by name.
"""

import base64
from importlib import import_module
from typing import Any

import typer

from benchmarks.peers import HOST, PATH, WAIT_S, BatchReads, Model, Port, Workers, answer, load
from models import zoo

litserve: Any = import_module("litserve")


class Api(litserve.LitAPI):  # type: ignore[misc]  # untyped
    """The model, in LitServe's words."""

    def __init__(self, model: str, batch_reads: int) -> None:
        super().__init__(max_batch_size=batch_reads, batch_timeout=WAIT_S, api_path=PATH)
        self._model = model

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's signature
        """Load the model."""
        self._caller = load(self._model)

    def decode_request(self, request: dict[str, str]) -> bytes:
        """Return the signal."""
        return base64.b64decode(request["signal"])

    def batch(self, inputs: list[bytes]) -> list[bytes]:
        """Leave reads of any lengths side by side."""
        return inputs

    def predict(self, x: list[bytes]) -> list[dict[str, Any]]:
        """Call a batch of reads."""
        return answer(self._caller, x)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the calls."""
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """Return one call."""
        return output


def main(port: Port, model: Model = zoo.DEFAULT, workers: Workers = 2, batch_reads: BatchReads = 4) -> None:
    """Serve until killed."""
    server = litserve.LitServer(
        Api(model, batch_reads), accelerator="cpu", workers_per_device=workers, timeout=False, fast_queue=True
    )
    server.run(port=port, host=HOST, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    typer.run(main)
