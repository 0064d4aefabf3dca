"""Devices as metrics show them: what each is called, and how full its memory is.

torch is asked only where something else has imported it already: a service of the null arm needs none.
"""

import math
import sys
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of a device, of everybody who uses it, in bytes; NaN where the device does not say."""

    used: float
    total: float


def device_name(device: str) -> str:
    """Return what is meant by auto, and any other device as it is."""
    if device != "auto":
        return device
    torch = sys.modules.get("torch")
    return "cuda:0" if torch and torch.cuda.is_available() else "cpu"


def memory(name: str) -> Memory:
    """Return how full the memory of the device of that name is."""
    torch = sys.modules.get("torch")
    if name.startswith("cuda") and torch:
        try:
            free, total = torch.cuda.mem_get_info(name)
        except RuntimeError:
            # A device that has failed is told of by its engine; what else is asked for is still answered.
            return Memory(math.nan, math.nan)
        return Memory(total - free, total)
    machine = psutil.virtual_memory()
    return Memory(machine.total - machine.available, machine.total)
