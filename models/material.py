"""What a training is given: reads whose bases are known, and those of them that are held out.

Whether a read is held out depends on its id and the share alone, so that a training that is resumed, or begun
again with more reads, never learns from what it is judged by.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import numpy as np

from models.basecaller import call
from models.called import read_calls
from models.caller import Caller
from models.errors import TrainingError
from models.examples import AlignedRead
from models.mapping import Reference
from models.rates import at_rate
from models.truth import TrueRead, self_taught_reads, taught_reads, true_reads
from reads.files import open_reads
from reads.kmers import encode
from reads.levels import Levels
from reads.progress import following
from reads.read import Read
from reads.simulate import Simulation, simulated_read

SIMULATED_HELD_OUT, SIMULATED_BASES = 20, 2000
"""Reads, and bases of each, that are simulated to judge by where no real ones are held out."""
_PARTS = 1 << 16

Complain = Callable[[object], None]


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """A read to judge by, and what it is mapped to."""

    read: Read
    reference: Reference


@dataclass(slots=True)
class Material:
    """Reads to learn from and reads to judge by, as they are gathered."""

    learned: list[AlignedRead] = field(default_factory=list)
    held_out: list[HeldOut] = field(default_factory=list)


def is_held_out(read_id: str, share: float) -> bool:
    """Return whether a read is among that share of all reads which is never learned from."""
    return crc32(read_id.encode()) % _PARTS < share * _PARTS


@dataclass(frozen=True, slots=True, eq=False)
class Gatherer:
    """Adds reads of each kind to a material; `complain` is told of reads that cannot be used, and what came
    of each source."""

    caller: Caller
    levels: Levels
    holdout: float
    complain: Complain

    def mapped(self, material: Material, reads: Path, reference_path: Path) -> None:
        """Add reads that map to a reference. TrainingError where none does."""
        reference = Reference.of_file(reference_path)
        total = used = held = 0
        for true in true_reads(self.caller, self._reads(reads, called=True), reference, self.levels):
            total += 1
            if true is None:
                continue
            if is_held_out(true.read.read_id, self.holdout):
                material.held_out.append(HeldOut(true.read, reference))
                held += 1
            else:
                material.learned.append(true.aligned)
                used += 1
        if not used + held:
            raise TrainingError(f"none of the {total} reads of {reads} maps well enough to {reference_path}")
        self.complain(
            f"{reads}: {used} reads to learn from, {held} held out; "
            f"{total - used - held} do not map well enough to {reference_path}"
        )

    def taught(self, material: Material, reads: Path, calls_path: Path, least_quality: float) -> None:
        """Add reads by a teacher's calls of at least that mean quality. TrainingError where none fits."""
        calls = {
            called.read_id: called
            for called in read_calls(calls_path)
            if called.mean_q is None or called.mean_q >= least_quality
        }
        self._unlabelled(
            material,
            taught_reads(self._reads(reads, called=False), calls, self.levels),
            f"{reads}: %d reads to learn from; %d have no call in {calls_path} that is sure enough and fits",
        )

    def self_taught(self, material: Material, reads: Path, least_quality: float) -> None:
        """Add reads by the caller's own calls that are as sure. TrainingError where none fits."""
        found = self_taught_reads(self.caller, self._reads(reads, called=True), self.levels, least_quality)
        words = f"{reads}: %d reads to learn from; %d were called below Q{least_quality:g} or do not fit"
        self._unlabelled(material, found, words)

    def _unlabelled(self, material: Material, found: Iterable[TrueRead | None], words: str) -> None:
        used = left = 0
        for true in found:
            # A read may be mapped by another source, and be judged by there.
            if true is None or is_held_out(true.read.read_id, self.holdout):
                left += 1
            else:
                material.learned.append(true.aligned)
                used += 1
        if not used:
            raise TrainingError(words % (used, left))
        self.complain(words % (used, left))

    def _reads(self, path: Path, *, called: bool) -> Iterator[Read]:
        """Yield the reads of a file or folder that are of the levels' sample rate."""
        takes, taker = (
            (self.caller.sample_rate, self.caller.name)
            if called
            else (self.levels.sample_rate, "the chemistry")
        )
        with open_reads([path], on_problem=self.complain) as stream:
            found = following(stream, f"learning the truth of {path.name}")
            yield from at_rate(found, takes, taker, self.complain)


def simulated_held_out(levels: Levels, seed: int) -> list[HeldOut]:
    """Return simulated reads to judge by, each with its own sequence for its reference."""
    simulation = Simulation(seed, levels, mean_bases=SIMULATED_BASES, sd_bases=0.0)
    reads = (simulated_read(simulation, number) for number in range(SIMULATED_HELD_OUT))
    return [HeldOut(one.read, Reference.of_codes(encode(one.sequence))) for one in reads]


@dataclass(frozen=True, slots=True)
class Judgement:
    """How well held-out reads are called: over those that map, as `models.accuracy` has it."""

    reads: int
    mapped: int
    identity_median: float | None
    identity_mean: float | None

    @property
    def figure(self) -> float:
        """What weights are chosen by: the median identity, times the share of reads that map."""
        return (self.identity_median or 0.0) * self.mapped / max(self.reads, 1)


def judge(caller: Caller, held_out: Iterable[HeldOut]) -> Judgement:
    """Call held-out reads and map them."""
    waiting = list(held_out)
    identities = []
    calls = call(caller, (one.read for one in waiting))
    for one, (_, basecall) in zip(waiting, calls, strict=True):
        mapping = one.reference.map(basecall.sequence)
        if mapping:
            identities.append(mapping.identity)
    return Judgement(
        reads=len(waiting),
        mapped=len(identities),
        identity_median=float(np.median(identities)) if identities else None,
        identity_mean=float(np.mean(identities)) if identities else None,
    )
