"""When a path is warm: its last windows agree. Pure; whoever only sends needs it, and no statistics."""

from collections.abc import Sequence

from loadgen.observation import Observation

WARM_WINDOWS = 3
"""So many windows in a row must agree before anything is measured."""
WARM_AGREEMENT = 0.10
"""The largest may exceed the smallest by this share."""


def is_warm(windows: Sequence[Observation]) -> bool:
    """Say whether the last windows, all of one path and arm, agree in throughput and in latency."""
    last = windows[-WARM_WINDOWS:]
    return len(last) == WARM_WINDOWS and all(
        len(values) == WARM_WINDOWS and max(values) <= min(values) * (1 + WARM_AGREEMENT)
        for values in (
            [window.bases_per_s for window in last if not window.voids],
            [window.p50_ms for window in last if not window.voids and window.p50_ms is not None],
        )
    )
