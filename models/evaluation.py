"""What an evaluation does: each call of the given reads -> its mapping -> counts, and from them the figures.

A caller is a model of ours or a file of calls by any program; both are held to the same list of reads, so
that a read without a call counts as unmapped. Knows no terminal and writes nothing.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from models.accuracy import (
    JUDGED_Q,
    Calibration,
    ReadAccuracy,
    Summary,
    Tally,
    accuracy,
    calibration,
    summarise,
    worst_gap,
)
from models.basecaller import call
from models.called import Called, read_calls
from models.caller import Caller
from models.comparison import Comparison, compare
from models.mapping import Reference
from models.rates import at_rate
from reads.errors import ReadError
from reads.read import Read
from reads.simulate import simulate_reads

WARM_UP_BASES = 300


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """One caller on some reads. `seconds` is the time from the files to its calls, None where the calls were
    made elsewhere; `samples` is the signal that was called meanwhile."""

    name: str
    reads: tuple[ReadAccuracy, ...]
    tally: Tally
    samples: int = 0
    seconds: float | None = None

    @property
    def summary(self) -> Summary:
        """The figures of all reads."""
        return summarise(self.reads)

    @property
    def qualities(self) -> list[Calibration]:
        """Reported qualities against empirical ones."""
        return calibration(self.tally)

    @property
    def speed(self) -> dict[str, float] | None:
        """Bases and samples a second, None where this process did not call."""
        if not self.seconds:
            return None
        bases = sum(read.bases for read in self.reads)
        return {"bases_per_s": bases / self.seconds, "samples_per_s": self.samples / self.seconds}

    @property
    def homopolymers(self) -> list[dict[str, float]]:
        """By length in the reference: runs, the share called wrongly, and the mean length called."""
        return [
            {"length": length, "runs": runs, "wrong_share": wrong / runs, "mean_called": called / runs}
            for length, (runs, wrong, called) in enumerate(self.tally.by_homopolymer.tolist())
            if runs
        ]


def evaluate_model(
    caller: Caller, reads: Iterable[Read], reference: Reference, on_problem: Callable[[ReadError], None]
) -> Evaluation:
    """Call reads and evaluate the calls; a read at another sample rate is one problem and is left out."""
    if caller.sample_rate:
        # Compilation and first allocations are nobody's speed.
        warm_up = next(simulate_reads(seed=1, mean_bases=WARM_UP_BASES)).read
        list(call(caller, [Read("", warm_up.signal, warm_up.calibration, caller.sample_rate)]))

    tally, rows, samples, seconds = Tally.empty(), [], 0, 0.0
    calls = call(caller, at_rate(reads, caller.sample_rate, caller.name, on_problem))
    while True:
        began = time.monotonic()
        made = list(islice(calls, 1))
        seconds += time.monotonic() - began  # what mapping takes is left out
        if not made:
            break
        ((read, basecall),) = made
        rows.append(_judge(Called(read.read_id, basecall.sequence, basecall.qstring), reference, tally))
        samples += basecall.samples
    return Evaluation(caller.name, tuple(rows), tally, samples, seconds)


def evaluate_calls(path: Path, read_ids: Iterable[str], reference: Reference) -> Evaluation:
    """Evaluate the calls in a file of the reads of those ids, others left out."""
    rows = {read_id: ReadAccuracy(read_id) for read_id in read_ids}
    tally = Tally.empty()
    for called in read_calls(path):
        if called.read_id in rows:
            rows[called.read_id] = _judge(called, reference, tally)
    return Evaluation(str(path), tuple(rows.values()), tally)


def _judge(called: Called, reference: Reference, tally: Tally) -> ReadAccuracy:
    mapping = reference.map(called.sequence)
    if mapping:
        tally.add(called, mapping)
    return accuracy(called, mapping)


def compare_two(evaluations: list[Evaluation]) -> Comparison | None:
    """Return how the second of two evaluations compares with the first, None where there is one alone."""
    if len(evaluations) < 2:
        return None
    first, second = evaluations
    return compare(first.name, first.reads, second.name, second.reads)


def as_plain(evaluations: list[Evaluation], comparison: Comparison | None) -> dict[str, Any]:
    """Return everything as JSON has it; what could not be told is null."""
    return {
        "evaluations": [
            {
                "name": one.name,
                "summary": asdict(one.summary),
                "speed": one.speed,
                "worst_quality_gap": worst_gap(one.qualities),
                "qualities": [asdict(quality) for quality in one.qualities],
                "homopolymers": one.homopolymers,
                "reads": [
                    {**asdict(read), "identity": read.identity, "coverage": read.coverage}
                    for read in one.reads
                ],
            }
            for one in evaluations
        ],
        "comparison": {**asdict(comparison), "words": comparison.words} if comparison else None,
    }


def figures(evaluation: Evaluation) -> Mapping[str, str]:
    """Return the figures of one caller by their names, as people read them."""
    summary, speed = evaluation.summary, evaluation.speed or {}
    lowest, highest = JUDGED_Q
    gap = worst_gap(evaluation.qualities)
    return {
        "reads": str(summary.reads),
        "without a call": str(summary.uncalled),
        "unmapped": _percent(summary.unmapped_share),
        "identity, median": _percent(summary.identity_median),
        "identity, mean": _percent(summary.identity_mean),
        "identity, all columns": _percent(summary.identity_overall),
        "mismatches": _percent(summary.mismatch_rate),
        "insertions": _percent(summary.insertion_rate),
        "deletions": _percent(summary.deletion_rate),
        "query coverage, median": _percent(summary.coverage_median),
        "query coverage, all bases": _percent(summary.coverage_overall),
        "bases called": f"{summary.bases:,}",
        f"worst quality gap, Q{lowest} to Q{highest}": "–" if gap is None else f"{gap:+.1f} Q",
        "bases/s": f"{speed['bases_per_s']:,.0f}" if speed else "–",
        "samples/s": f"{speed['samples_per_s']:,.0f}" if speed else "–",
    }


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f} %"
