"""What the service's counters promise: the sums of its page, and what is missing there is missing here."""

from loadgen.counters import ServerCounters

PAGE = """\
# HELP fiveways_bases_total Bases called
# TYPE fiveways_bases_total counter
fiveways_bases_total{model="tiny"} 120.0
fiveways_bases_total{model="null"} 30.0
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 4.5
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1.7e+09
"""


def test_bases_are_summed_over_the_models() -> None:
    assert ServerCounters.from_page(PAGE) == ServerCounters(bases=150, cpu_s=4.5, started_s=1.7e9)


def test_a_counter_that_counted_nothing_yet_is_zero() -> None:
    page = "# TYPE fiveways_bases_total counter\n"
    assert ServerCounters.from_page(page).bases == 0


def test_a_counter_that_the_page_lacks_is_unknown() -> None:
    assert ServerCounters.from_page("") == ServerCounters(bases=None, cpu_s=None, started_s=None)


def test_what_was_counted_since_is_the_difference() -> None:
    before = ServerCounters(bases=100, cpu_s=1.5, started_s=7.0)
    after = ServerCounters(bases=150, cpu_s=4.5, started_s=7.0)
    assert after.since(before) == ServerCounters(bases=50, cpu_s=3.0, started_s=7.0)


def test_a_difference_to_the_unknown_is_unknown() -> None:
    known, unknown = ServerCounters(1, 1.0, 1.0), ServerCounters(None, None, None)
    assert known.since(unknown).bases is None
    assert unknown.since(known).cpu_s is None
