"""Which strands of a reference are read."""

from enum import StrEnum


class Strands(StrEnum):
    """Both, each half of the time, or one."""

    BOTH = "both"
    FORWARD = "forward"
    REVERSE = "reverse"
