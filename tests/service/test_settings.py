"""Settings: valid from the moment that they exist."""

from pathlib import Path
from typing import Any

import pytest

from service.settings import Settings, SettingsError


def test_the_defaults_are_valid_and_hold_two_of_the_longest_reads() -> None:
    settings = Settings()
    assert settings.max_signal_samples >= 2 * settings.max_read_samples


def test_devices_are_written_with_commas() -> None:
    assert Settings(device="cuda:0, cuda:1").devices == ("cuda:0", "cuda:1")
    assert Settings().devices == ("auto",)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"port": -1}, "--port is -1"),
        ({"max_read_samples": 0}, "--max-read-samples is 0"),
        ({"max_signal_mib": 100}, "it is at least 153"),
        ({"max_backlog_s": 0}, "--max-backlog-s is 0"),
        ({"max_per_client": 0}, "--max-per-client is 0"),
        ({"max_connections": 0}, "--max-connections is 0"),
        ({"max_request_reads": 0}, "--max-request-reads is 0"),
        ({"max_header_bytes": 10}, "--max-header-bytes is 10"),
        ({"header_s": 0}, "--header-s is 0"),
        ({"upload_s": -1}, "--upload-s is -1"),
        ({"answer_s": 1e9}, "--answer-s is 1000000000.0"),
        ({"drain_s": float("nan")}, "--drain-s is nan"),
        ({"log_level": "loud"}, "debug, info, warning, error"),
        ({"device": "cpu,,"}, "--device"),
        ({"tokens": Path("/nowhere/at/all")}, "/nowhere/at/all"),
    ],
)
def test_a_setting_that_cannot_be_names_its_flag(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings(**wrong)
