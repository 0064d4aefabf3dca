import pytest

from reads.read import Origin
from reads.tracking import iso_time, run_origin


@pytest.mark.parametrize(
    ("said", "time"),
    [
        ("2018-10-24T16:55:04Z", "2018-10-24T16:55:04+00:00"),
        ("2023-03-22T10:49:58.219148+11:00", "2023-03-22T10:49:58.219148+11:00"),
        ("2020-01-02T03:04:05", "2020-01-02T03:04:05+00:00"),
        ("1449676194", "2015-12-09T15:49:54+00:00"),
        ("9" * 30, ""),
        ("yesterday", ""),
        ("", ""),
    ],
)
def test_times_are_iso_8601_or_nothing(said: str, time: str) -> None:
    assert iso_time(said) == time


def test_the_run_is_told_by_minknows_names() -> None:
    tracking = {
        "run_id": "r",
        "flow_cell_id": "f",
        "sample_id": "s",
        "exp_start_time": "2020-01-02T03:04:05Z",
        "device_id": "d",
        "hostname": "h",
    }
    assert run_origin(tracking) == Origin(
        run_id="r", flow_cell_id="f", sample_id="s", run_started="2020-01-02T03:04:05+00:00", device_id="d"
    )
    assert run_origin({}) == Origin()
