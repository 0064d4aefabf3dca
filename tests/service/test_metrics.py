"""The names that others read from /metrics, which must not change."""

import re

from live_service import Running, random_signal
from prometheus_client.parser import text_string_to_metric_families

PROMISED = {
    "fiveways_requests": {"code", "model"},
    "fiveways_samples": {"model"},
    "fiveways_bases": {"model"},
    "fiveways_backlog_samples": {"model"},
    "fiveways_backlog_seconds": {"model"},
    "fiveways_batch_fill": {"model"},
    "fiveways_stage_seconds": {"stage"},
    "fiveways_drain_samples_per_second": {"model"},
    "fiveways_engine_restarts": {"model"},
    "fiveways_engine_busy_seconds": {"model", "device"},
    "fiveways_device_memory_bytes": {"device", "kind"},
    "fiveways_build_info": {"version"},
    "process_cpu_seconds": set(),
    "process_start_time_seconds": set(),
    "process_resident_memory_bytes": set(),
}


def families(running: Running) -> dict[str, set[str]]:
    with running.client() as client:
        page = client.get("/metrics").text
    return {
        family.name: {label for sample in family.samples for label in sample.labels} - {"le"}
        for family in text_string_to_metric_families(page)
    }


def test_every_promised_name_is_there_with_its_labels(running: Running) -> None:
    assert running.call(random_signal(100)).status_code == 200
    found = families(running)
    assert {name: found.get(name) for name in PROMISED} == PROMISED


def test_what_a_client_writes_is_no_label(running: Running) -> None:
    assert running.call(random_signal(10), params={"model": "surprise"}).status_code == 404
    with running.client() as client:
        page = client.get("/metrics").text
    assert 'fiveways_requests_total{code="404",model=""}' in page and "surprise" not in page


def test_there_are_counters_before_anything_was_counted(running: Running) -> None:
    with running.client() as client:
        page = client.get("/metrics").text
    assert 'fiveways_bases_total{model="null"} 0.0' in page


def test_a_device_is_as_busy_as_its_engine_and_its_memory_is_shown(running: Running) -> None:
    before = running.metric("fiveways_engine_busy_seconds_total")
    assert running.call(random_signal(10_000)).status_code == 200
    assert running.metric("fiveways_engine_busy_seconds_total") > before
    with running.client() as client:
        page = client.get("/metrics").text
    found = dict(re.findall(r'fiveways_device_memory_bytes{device="cpu",kind="(\w+)"} (\S+)', page))
    assert 0 < float(found["used"]) < float(found["total"])
