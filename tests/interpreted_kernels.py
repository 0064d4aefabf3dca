"""What the interpreted Triton kernels make of scores: `interpreted_kernels.py SCORES.npz RESULTS.npz BLANK`.

A process of its own, because triton settles how everything runs when it is imported: with TRITON_INTERPRET=1.
"""

import sys

import numpy as np
import torch

from models import lattice_kernels


def main(given: str, made: str, blank: str) -> None:
    results: dict[str, np.ndarray] = {}
    for name, scores in np.load(given).items():
        steps = lattice_kernels.best_path(torch.from_numpy(scores), float(blank))
        lattice = lattice_kernels.lattice(torch.from_numpy(scores), float(blank))
        told = (steps.moves, steps.path, steps.sure, lattice.alpha, lattice.beta)
        results |= {f"{name}/{number}": one.numpy() for number, one in enumerate(told)}
    np.savez(made, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
