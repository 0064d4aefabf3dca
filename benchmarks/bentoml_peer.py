"""BentoML on the same work, see `benchmarks.peers`: batches of lists in JSON, the signal in base64.

`bentoml serve` imports this file by name, in each of its workers.
"""

import base64
import os
import sys
from importlib import import_module
from typing import Any

import typer

from benchmarks.peers import HOST, LONGEST_REQUEST_S, PATH, BatchReads, Model, Port, Workers, answer, load
from models import zoo

bentoml: Any = import_module("bentoml")
MODEL, WORKERS, BATCH_READS = "FIVEWAYS_BENTO_MODEL", "FIVEWAYS_BENTO_WORKERS", "FIVEWAYS_BENTO_BATCH_READS"
"""How the workers, which import this file, are told what they are to be."""


@bentoml.service(  # type: ignore[untyped-decorator]
    workers=int(os.environ.get(WORKERS, "1")),
    traffic={"timeout": LONGEST_REQUEST_S},
    logging={"access": {"enabled": False}},
)
class Basecaller:
    """The model, in BentoML's words."""

    def __init__(self) -> None:
        self._caller = load(os.environ[MODEL])

    @bentoml.api(  # type: ignore[untyped-decorator]
        route=PATH,
        batchable=True,
        max_batch_size=int(os.environ.get(BATCH_READS, "2")),
        max_latency_ms=1000 * LONGEST_REQUEST_S,
    )
    def basecall(self, signals: list[str]) -> list[dict[str, Any]]:
        """Call a batch of reads: a list from each request, which has one."""
        return answer(self._caller, [base64.b64decode(signal) for signal in signals])


def main(port: Port, model: Model = zoo.DEFAULT, workers: Workers = 2, batch_reads: BatchReads = 64) -> None:
    """Serve until killed."""
    os.environ |= {MODEL: model, WORKERS: str(workers), BATCH_READS: str(batch_reads)}
    os.environ["BENTOML_DO_NOT_TRACK"] = "true"
    serve = [sys.executable, "-m", "bentoml", "serve", "benchmarks.bentoml_peer:Basecaller"]
    os.execv(sys.executable, [*serve, "--host", HOST, "--port", str(port)])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    typer.run(main)
