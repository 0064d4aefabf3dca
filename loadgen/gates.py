"""Gates: what must hold for a run's numbers to mean what they say.

What voids a single block is decided where it is measured (`loadgen.observation`); here the voided blocks are
counted, and what concerns a whole run is decided. Pure.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from loadgen.measure import Rate
from loadgen.observation import Observation
from loadgen.plan import Arm
from loadgen.verdict import Difference, Verdict
from loadgen.warmth import WARM_AGREEMENT, WARM_WINDOWS, is_warm

LINE_BURST = 0.10
"""By this share a block may exceed the line rate: token buckets begin full."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Something that must hold, whether it did, and what was seen."""

    name: str
    held: bool
    detail: str


def warm_up_gate(path: str, arm: Arm, windows: Sequence[Observation]) -> Gate:
    """Report how the warm-up of a server ended, by `path`, for an arm."""
    speeds = ", ".join(f"{window.bases_per_s:,.0f}" for window in windows[-WARM_WINDOWS:])
    return Gate(
        f"warm-up by {path}, {arm} arm",
        is_warm(windows),
        f"{WARM_WINDOWS} windows in a row must agree within {WARM_AGREEMENT:.0%} in bases/s and in median"
        f" latency; {len(windows)} windows were run, the last at {speeds or 'no'} bases/s",
    )


def control_gate(arm: Arm, title: str, verdict: Verdict) -> Gate:
    """Hold host networking against itself: fails where the two arms of the A/A control differ."""
    differs = verdict.word in {"higher", "lower"}
    return Gate(
        f"A/A control, {arm} arm: {title}",
        not differs,
        f"host networking against itself: ratio {verdict.ratio:.4f} [{verdict.low:.4f}, {verdict.high:.4f}]",
    )


def rate_control_gate(arm: Arm, rate: Rate, difference: Difference) -> Gate:
    """Hold host networking against itself, as control_gate does, in a rate."""
    differs = difference.word in {"higher", "lower"}
    return Gate(
        f"A/A control, {arm} arm: {rate.title}",
        not differs,
        f"host networking against itself: difference {difference.estimate:.3g}"
        f" [{difference.low:.3g}, {difference.high:.3g}] {rate.unit}",
    )


def block_gates(observations: Iterable[Observation]) -> Iterator[Gate]:
    """Report the voided blocks, a gate for each path and arm that has any; one held gate if none has."""
    blocks: defaultdict[tuple[str, Arm], list[Observation]] = defaultdict(list)
    for observation in observations:
        blocks[observation.path, observation.arm].append(observation)
    clean = True
    for (path, arm), of_path in blocks.items():
        voided = [observation for observation in of_path if observation.voids]
        if voided:
            clean = False
            detail = f"{len(voided)} of {len(of_path)} voided; the first: {'; '.join(voided[0].voids)}"
            yield Gate(f"blocks of {path}, {arm} arm", False, detail)
    if clean:
        yield Gate("blocks", True, f"none of {sum(map(len, blocks.values()))} was voided")


def line_rate_gate(observations: Iterable[Observation], line_rate_bps: float) -> Gate:
    """Hold the payload of blocks that cross a line of this rate [bit/s] against what it can carry."""
    blocks = ((o.total, o.elapsed_s) for o in observations if o.elapsed_s)
    fastest_bps = max((8 * max(t.request_bytes, t.response_bytes) / s for t, s in blocks), default=0.0)
    return Gate(
        "line rate",
        fastest_bps <= line_rate_bps * (1 + LINE_BURST),
        f"the fastest block carried {fastest_bps / 1e6:,.1f} Mbit/s one way,"
        f" the line is said to carry {line_rate_bps / 1e6:,.1f}",
    )
