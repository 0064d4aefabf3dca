"""What the service has counted: the few numbers of its /metrics page that an experiment compares.

Pure: the page is handed in.
"""

from dataclasses import dataclass
from typing import Self

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True)
class ServerCounters:
    """Counters of one server process since it started; None where its page lacks them."""

    bases: int | None
    """Bases called, of all models: so that a stranger's requests are noticed."""
    cpu_s: float | None
    """CPU seconds the process used."""
    started_s: float | None
    """When the process started, in seconds since 1970: which process answered."""

    @classmethod
    def from_page(cls, page: str) -> Self:
        """Read a Prometheus text page. Raises ValueError where it is none."""
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(page):
            if family.name == "fiveways_bases":
                # Without a sample until the first answer.
                sums["fiveways_bases_total"] = 0.0
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
        bases = sums.get("fiveways_bases_total")
        return cls(
            bases=None if bases is None else round(bases),
            cpu_s=sums.get("process_cpu_seconds_total"),
            started_s=sums.get("process_start_time_seconds"),
        )

    def since(self, earlier: Self) -> Self:
        """Return what was counted since `earlier`, by the same process."""
        return type(self)(
            bases=None if self.bases is None or earlier.bases is None else self.bases - earlier.bases,
            cpu_s=None if self.cpu_s is None or earlier.cpu_s is None else self.cpu_s - earlier.cpu_s,
            started_s=self.started_s,
        )
