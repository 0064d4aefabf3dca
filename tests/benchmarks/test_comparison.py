import pytest
import typer

from benchmarks import comparison
from benchmarks.comparison import QUICK, Outcome, Visit, kinds, ratios, rows_of, summarise
from benchmarks.hammer import Answers, Hammer
from benchmarks.measure import Record
from benchmarks.servers import NotInstalledError, service
from benchmarks.serving import noise


def outcome(bases: int, *latencies_ms: float) -> Outcome:
    half = Answers(wall_s=1.0, requests=len(latencies_ms), latency_ms=list(latencies_ms))
    return Outcome(
        Answers(wall_s=2.0, bases=bases, requests=4), half, rss_bytes=2**20, start_s=3.0, connections=8
    )


OURS = [outcome(4000, 1.0, 2.0), outcome(8000, 1.0, 4.0)]
THEIRS = [outcome(2000, 4.0), outcome(2000, 5.0)]


def test_the_fastest_comes_first_with_its_spread_and_its_share_of_the_ceiling():
    rows = rows_of({"theirs": THEIRS, "fiveways": OURS}, ceiling=4000.0)
    assert rows[0] == ("fiveways", 3.0, 2.0, 4.0, 75.0, 1.0, 4.0, 1.0, 3.0, 0)
    assert rows[1][:5] == ("theirs", 1.0, 1.0, 1.0, 25.0)


def test_ours_over_theirs_is_a_ratio_of_each_round():
    found = {"fiveways": OURS, "theirs": THEIRS}
    assert ratios(found, lambda one: one.full.bases_per_s) == {"theirs": [2.0, 4.0]}


def test_who_is_not_installed_is_told_apart_with_the_command(monkeypatch: pytest.MonkeyPatch):
    def absent(name: str, model: str) -> None:
        raise NotInstalledError(f"install {name} for {model}")

    monkeypatch.setattr(comparison, "peer", absent)
    found, missing = kinds(["fiveways", "ray"], "null")
    assert (list(found), missing) == (["fiveways"], {"ray": "install ray for null"})


def test_who_was_not_measured_is_in_the_table_with_the_reason():
    record = Record("comparison", {"model": "null"}, {})
    missing = {"ray": "not installed: a command", "mosec": "failed: no answer"}
    summarise(record, {"fiveways": OURS}, [4000.0], missing)
    assert [row[0] for row in record.sections[0].rows] == [
        *("fiveways", "in process, no server", "ray not installed: a command", "mosec failed: no answer")
    ]
    assert record.figures["missing"] == missing


def test_every_peer_has_aims_of_its_own():
    record = Record("comparison", {"model": "null"}, {})
    summarise(record, {"fiveways": OURS, "theirs": THEIRS}, [4000.0], {})
    assert [(aim.name, aim.value, aim.met) for aim in record.aims] == [
        ("bases/s over theirs's", 3.0, True),
        ("p99 over theirs's, each at half of its own rate", 0.65, True),
    ]


def test_a_visit_saturates_a_server_then_offers_half_and_keeps_the_connections_that_gave_most():
    with Hammer() as hammer:
        visit = Visit(service("null"), (noise(1000),), hammer, QUICK)
        found = visit()
    assert visit.connections in QUICK.connections
    assert found.full.requests > 0 and found.half.requests > 0
    assert found.full.failures == found.half.failures == 0
    assert found.half.requests_per_s < 0.9 * found.full.requests_per_s
    assert found.rss_bytes > 2**20 and found.start_s > 0


def test_a_server_that_is_none_is_answered_with_those_that_are():
    with pytest.raises(typer.BadParameter, match="flask is none of fiveways, fastapi, litserve"):
        comparison.main(only="flask")
