"""The proof that a model calls: a known read through its queue and engines, before any client's.

It also measures how fast the engines are. Takes seconds, and blocks.
"""

from dataclasses import replace

from models.basecall import Basecall
from reads.simulate import SimulatedRead, simulate_reads
from service.job import Priority
from service.served import ServedModel

KNOWN_BASES = 1000
"""Mean length of the simulated read that models are proved with, in bases."""
PROOF_S = 300.0
"""How long a model may take for one batch of the proof: its first call compiles."""


class UnprovenError(Exception):
    """A model did not call a known read as a basecaller would."""


def prove(model: ServedModel) -> None:
    """Call a known read, alone and then as often as fills a batch of every engine.

    Raises UnprovenError where a call is not what a basecaller would make of it, and EngineError.
    """
    known = known_read(model.sample_rate)
    _prove(model, known, 1)
    # The first batch compiled, and says nothing about those that follow.
    model.forget_rates()
    chunks = len(model.caller.chunk(known.read))
    _prove(model, known, len(model.devices) * (model.caller.batch_chunks // chunks + 1))


def known_read(sample_rate: float) -> SimulatedRead:
    """Return the simulated read that models are proved with, said to be sampled at `sample_rate` Hz."""
    simulated = next(simulate_reads(seed=1, mean_bases=KNOWN_BASES))
    return replace(simulated, read=replace(simulated.read, sample_rate=sample_rate))


def check_call(call: Basecall, known: SimulatedRead) -> None:
    """Raise UnprovenError unless `call` is sound, and of a length that a call of `known` could have.

    The known read is of one chemistry, and the model may be of another: how well it calls is not asked here.
    """
    bases, truth = len(call.sequence), len(known.sequence)
    if not bases == len(call.qstring) == int(call.moves.sum()) or set(call.sequence) - set("ACGT"):
        raise UnprovenError("the call of a known read is unsound: sequence, qualities and moves disagree")
    if not truth / 10 <= bases <= truth * 4:
        raise UnprovenError(f"a known read of {truth} bases was called as {bases}")


def _prove(model: ServedModel, known: SimulatedRead, copies: int) -> None:
    jobs = [model.submit(known.read, priority=Priority.LOW, arrived_s=0.0) for _ in range(copies)]
    for job in jobs:
        check_call(job.outcome.result(PROOF_S), known)
