"""Triton on the same work, see `benchmarks.peers`: the server in the nvidia-pytriton wheel, Python backend.

Raw bytes in (its binary tensor extension), ragged batches by its dynamic batcher, JSON out. Started as a
command, this writes a model repository and becomes tritonserver; imported by the backend's processes, it is
the model.
"""

import json
import os
import shutil
import sys
import sysconfig
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import typer

from benchmarks.peers import HOST, WAIT_S, BatchReads, Model, Port, Workers, answer, load
from models import zoo

NAME = "basecall"
CONFIG = """\
backend: "python"
max_batch_size: {batch_reads}
input [{{ name: "signal", data_type: TYPE_INT16, dims: [ -1 ], allow_ragged_batch: true }}]
output [
  {{ name: "sequence", data_type: TYPE_STRING, dims: [ 1 ] }},
  {{ name: "qstring", data_type: TYPE_STRING, dims: [ 1 ] }}
]
instance_group [{{ kind: KIND_CPU, count: {workers} }}]
dynamic_batching {{ max_queue_delay_microseconds: {wait_us} }}
parameters {{ key: "model", value: {{ string_value: {model} }} }}
"""
MODEL_FILE = f"""\
import sys

sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from benchmarks.triton_peer import TritonPythonModel
"""


class TritonPythonModel:
    """The model, in Triton's words."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model."""
        config = json.loads(args["model_config"])
        self._caller = load(config["parameters"]["model"]["string_value"])
        self._triton: Any = import_module("triton_python_backend_utils")

    def execute(self, requests: list[Any]) -> list[Any]:
        """Call a batch of reads."""
        signals = [self._triton.get_input_tensor_by_name(request, "signal") for request in requests]
        calls = answer(self._caller, [signal.as_numpy().tobytes() for signal in signals])
        return [self._triton.InferenceResponse(self._tensors(call)) for call in calls]

    def _tensors(self, call: dict[str, Any]) -> list[Any]:
        return [
            self._triton.Tensor(name, np.array([[call[name].encode()]], dtype=np.object_))
            for name in ("sequence", "qstring")
        ]


def main(port: Port, model: Model = zoo.DEFAULT, workers: Workers = 2, batch_reads: BatchReads = 16) -> None:
    """Serve until killed."""
    found = find_spec("pytriton")
    if found is None or found.origin is None:
        raise typer.BadParameter("nvidia-pytriton, which has tritonserver, is not installed here")
    triton = Path(found.origin).parent / "tritonserver"
    # Whoever started this removes it: it becomes tritonserver below.
    folder = Path(tempfile.mkdtemp(prefix="triton-"))
    version = folder / "models" / NAME / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(MODEL_FILE)
    settings = {"batch_reads": batch_reads, "workers": workers, "wait_us": int(1e6 * WAIT_S)}
    (version.parent / "config.pbtxt").write_text(CONFIG.format(model=json.dumps(model), **settings))
    # The backend looks beside itself for the half of it that is this version of Python.
    stub = triton / "python_backend_stubs" / f"{sys.version_info.major}.{sys.version_info.minor}"
    backend = folder / "backends" / "python"
    shutil.copytree(triton / "backends" / "python", backend)
    shutil.copy(stub / "triton_python_backend_stub", backend)
    libraries = (str(triton.parents[1] / "nvidia_pytriton.libs"), sysconfig.get_config_var("LIBDIR"))
    # The backend's processes embed the Python of the first python3, and read no PYTHONPATH.
    os.environ |= {
        "LD_LIBRARY_PATH": ":".join(libraries),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    server = str(triton / "bin" / "tritonserver")
    options = {
        "model-repository": version.parents[1],
        "backend-directory": folder / "backends",
        "http-address": HOST,
        "http-port": port,
        "allow-grpc": "false",
        "allow-metrics": "false",
        "log-info": "false",
    }
    os.execv(server, [server, *(f"--{name}={value}" for name, value in options.items())])  # noqa: S606 - likewise


if __name__ == "__main__":
    typer.run(main)
