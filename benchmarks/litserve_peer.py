"""LitServe on the same work, see `benchmarks.peers`: it takes JSON, so the signal is in base64.

Its own file, because its workers are spawned and import it by name.
"""

import base64
from importlib import import_module
from typing import Annotated, Any

import typer

from benchmarks.peers import WAIT_S, answer, load
from models import zoo

litserve: Any = import_module("litserve")


class Api(litserve.LitAPI):  # type: ignore[misc]  # untyped
    """The model, in LitServe's words."""

    def __init__(self, model: str) -> None:
        super().__init__(
            max_batch_size=zoo.load(model).batch_chunks, batch_timeout=WAIT_S, api_path="/v1/basecall"
        )
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


def main(port: Annotated[int, typer.Option()], model: Annotated[str, typer.Option()] = zoo.DEFAULT) -> None:
    """Serve until killed."""
    server = litserve.LitServer(Api(model), accelerator="cpu", timeout=False)
    server.run(port=port, host="127.0.0.1", generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    typer.run(main)
