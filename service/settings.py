"""What the service is told when it starts: one frozen value, valid from the moment that it exists.

Flags and FIVEWAYS_* variables become this in `service.cli`; nothing else reads either.
"""

import math
from dataclasses import dataclass
from pathlib import Path

SIGNAL_BYTES_PER_SAMPLE = 8
"""What a sample costs in memory until its read is answered, at most: itself (2), its chunks in float32 with
their overlap (5), its calls (1)."""
LOG_LEVELS = ("debug", "info", "warning", "error")


class SettingsError(ValueError):
    """A setting that cannot be; the message names its flag and says what can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to serve. Raises SettingsError; the flag of `max_read_samples` is --max-read-samples."""

    model: str = ""
    """A name or a directory, as `models.zoo.load` takes it; empty for the default."""
    device: str = "auto"
    """auto, cpu, or one or more of cuda:N with commas between: an engine for each."""
    host: str = "127.0.0.1"
    port: int = 8000
    """0 takes a free one."""
    fds: tuple[int, ...] = ()
    """Listening sockets inherited from the parent; with any, `host` and `port` are not listened on."""
    max_read_samples: int = 10_000_000
    max_request_reads: int = 4000
    """Reads in one request: as many as sequencers write into one file."""
    max_signal_mib: int = 512
    """Memory for signal that is admitted and not yet answered."""
    max_backlog_s: float = 120.0
    """The longest wait, at the measured drain rate, that a request is admitted to."""
    max_per_client: int = 1024
    """Requests of one client (a token, or else an address) in flight."""
    max_connections: int = 4096
    max_header_bytes: int = 32 * 1024
    """The longest head of a request: its first line and its headers."""
    header_s: float = 10.0
    """For a request's head to arrive; also for the rest of a body that is refused."""
    upload_s: float = 60.0
    """For a body to arrive."""
    answer_s: float = 60.0
    """For an answer to be taken by its client."""
    drain_s: float = 30.0
    """For what is in flight to be answered, once the service was told to stop."""
    tokens: Path | None = None
    """A file of bearer tokens, one a line; without it, everybody may call."""
    tls_cert: Path | None = None
    """A certificate, with those that vouch for it, in PEM; without it, connections are plain."""
    tls_key: Path | None = None
    """Its key, in PEM, without a password."""
    log_level: str = "info"

    def __post_init__(self) -> None:
        for name, low, high in (
            ("port", 0, 65535),
            ("max_read_samples", 1, 2**31 - 1),
            ("max_request_reads", 1, 2**20),
            ("max_signal_mib", 1, 2**20),
            ("max_backlog_s", 0.001, math.inf),
            ("max_per_client", 1, 2**31 - 1),
            ("max_connections", 1, 2**20),
            ("max_header_bytes", 1024, 2**20),
            ("header_s", 0.001, 3600.0),
            ("upload_s", 0.001, 3600.0),
            ("answer_s", 0.001, 3600.0),
            ("drain_s", 0.0, 86400.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingsError(f"{flag(name)} is {value}; it can be {low} to {high}")
        if self.log_level not in LOG_LEVELS:
            raise SettingsError(f"--log-level is {self.log_level!r}; it can be {', '.join(LOG_LEVELS)}")
        if not all(self.devices):
            raise SettingsError(f"--device is {self.device!r}; write auto, cpu, or cuda:0,cuda:1")
        for name in ("tokens", "tls_cert", "tls_key"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise SettingsError(f"{flag(name)}: there is no file {path}")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise SettingsError("--tls-cert and --tls-key belong together: give both, or neither")
        least_mib = math.ceil(2 * self.max_read_samples * SIGNAL_BYTES_PER_SAMPLE / 2**20)
        if self.max_signal_mib < least_mib:
            raise SettingsError(
                f"--max-signal-mib is {self.max_signal_mib}, too little for two reads of the longest; with "
                f"--max-read-samples {self.max_read_samples} it is at least {least_mib}"
            )

    @property
    def devices(self) -> tuple[str, ...]:
        """Return the devices, one for each engine."""
        return tuple(device.strip() for device in self.device.split(","))

    @property
    def max_signal_samples(self) -> int:
        """Return how many samples `max_signal_mib` holds."""
        return self.max_signal_mib * 2**20 // SIGNAL_BYTES_PER_SAMPLE

    @property
    def max_request_samples(self) -> int:
        """Return how many samples all reads of one request may have: half of what there is memory for."""
        return self.max_signal_samples // 2


def flag(name: str) -> str:
    """Return how people type the setting `name`."""
    return "--fd" if name == "fds" else "--" + name.replace("_", "-")
