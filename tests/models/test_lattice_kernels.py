"""The Triton kernels do what plain torch does: interpreted on any machine, compiled for GPUs without one.

How they do on a GPU, `tests/models/test_device.py` holds there.
"""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from sequence_scores import lifelike_scores, random_scores

from models import batch_decode

BLANK = 1.5
LIFELIKE = lifelike_scores(3, 25, 3)[None]
SCORES = {
    "16 states": np.stack([random_scores(seed, 15, 2) for seed in range(2)]),
    "16 states, staying scored": np.stack([random_scores(seed, 15, 2, 5) for seed in range(2)]),
    "64 states, lifelike": LIFELIKE,
    "16 bits": LIFELIKE.astype(np.float16),
    "one step": random_scores(1, 1, 2)[None],
}


@pytest.fixture(scope="module", autouse=True)
def triton() -> ModuleType:
    try:
        return importlib.import_module("triton")
    except ImportError:
        # No tool that any machine should have: its version is torch's to say, and only torch for CUDA does.
        pytest.skip("triton is not installed (pip install triton)")


@pytest.fixture(scope="module")
def interpreted(triton: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    folder = tmp_path_factory.mktemp("kernels")
    np.savez(folder / "scores.npz", **SCORES)
    root = Path(batch_decode.__file__).parents[1]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    script = root / "tests/interpreted_kernels.py"
    command = [sys.executable, str(script), "scores.npz", "results.npz", str(BLANK)]
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=300)
    return dict(np.load(folder / "results.npz"))


@pytest.mark.parametrize("name", SCORES)
def test_best_paths_and_lattices_are_those_of_plain_torch(
    interpreted: dict[str, np.ndarray], name: str
) -> None:
    scores = torch.from_numpy(SCORES[name])
    moves, path, sure, alpha, beta = (interpreted[f"{name}/{number}"] for number in range(5))
    steps = batch_decode.best_path(scores, BLANK)
    lattice = batch_decode.lattice(scores, BLANK)
    np.testing.assert_array_equal(moves, steps.moves)
    np.testing.assert_array_equal(path, steps.path)
    np.testing.assert_allclose(sure, steps.sure, atol=1e-5)
    np.testing.assert_allclose(alpha, lattice.alpha, atol=1e-4)
    np.testing.assert_allclose(beta, lattice.beta, atol=1e-4)


TYPES = {"scores": "*fp16", "came": "*u8", "moves": "*i1", "begin": "*i64", "path": "*i64", "steps": "i32"}
"""Of the kernels' arguments; the others are float32."""
NUMBERS = dict.fromkeys(("blank", "smallest"), "fp32")


def signature(kernel: Any, constants: dict[str, int]) -> dict[str, str]:
    return {
        name: "constexpr" if name in constants else (TYPES | NUMBERS).get(name, "*fp32")
        for name in kernel.arg_names
    }


@pytest.mark.parametrize("capability", [80, 90])
def test_they_compile_for_gpus_of_today(triton: ModuleType, capability: int) -> None:
    compiler = importlib.import_module("triton.compiler")
    targets = importlib.import_module("triton.backends.compiler")
    compiled = importlib.import_module("models.lattice_kernels")
    for states, width in ((64, 4), (1024, 5)):
        for name in ("_forward", "_backward", "_backward_path", "_trace"):
            kernel = getattr(compiled, name)
            constants = {"states": states} if name == "_trace" else {"quarter": states // 4, "width": width}
            source = compiler.ASTSource(kernel, signature(kernel, constants), constants)
            options = {"num_warps": 1 if name == "_trace" else compiled.warps(states)}
            target = targets.GPUTarget("cuda", capability, 32)
            made = triton.compile(source, target=target, options=options)
            assert len(made.asm["cubin"]) > 1000
            # What an SM has for its programs, of which there should be several.
            assert made.metadata.shared <= 16 * 1024
