"""The truth of simulated reads, as files that other tools read: FASTA, and a table."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from reads.atomic import replacing
from reads.simulate import SimulatedRead

COLUMNS = ("read_id", "contig", "start", "end", "strand", "samples", "base_starts")


class TruthWriter:
    """Writes NAME.truth.fasta and NAME.truth.tsv, which appear when the `with` block ends well.

    The table has one line a read; `base_starts` is the sample at which each base begins, comma-separated.
    """

    def __init__(self, reads: Path) -> None:
        self.paths = [reads.with_name(f"{reads.name}.truth.{kind}") for kind in ("fasta", "tsv")]
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            self._fasta, self._table = (
                opening.enter_context(opening.enter_context(replacing(path)).open("w")) for path in self.paths
            )
            self._table.write("\t".join(COLUMNS) + "\n")
            self._cleanup = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.__exit__(kind, error, trace)

    def write(self, simulated: SimulatedRead) -> None:
        """Add a read's truth."""
        read, locus = simulated.read, simulated.locus
        self._fasta.write(f">{read.read_id}\n{simulated.sequence}\n")
        row = (
            read.read_id,
            locus.contig or ".",
            locus.start,
            locus.start + len(simulated.sequence),
            locus.strand,
            len(read.signal),
            ",".join(map(str, simulated.base_starts)),
        )
        self._table.write("\t".join(map(str, row)) + "\n")
