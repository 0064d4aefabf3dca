"""What a network is evaluated in while it is trained."""

from enum import StrEnum
from pathlib import Path

CPU_FACTS = Path("/proc/cpuinfo")
CPU_BF16 = frozenset(["avx512_bf16", "amx_bf16", "bf16"])
"""The flags of processors, x86 and Arm, that compute in bfloat16."""


class Precision(StrEnum):
    """AUTO is bfloat16 where the device has it. Losses, weights and their averages are always 32-bit."""

    AUTO = "auto"
    BF16 = "bf16"
    FP32 = "fp32"


def cpu_has_bf16() -> bool:
    """Return whether the processor computes in bfloat16; one that imitates it is slower than in 32 bits."""
    return CPU_FACTS.exists() and not CPU_BF16.isdisjoint(CPU_FACTS.read_text().split())
