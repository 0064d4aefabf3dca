"""What can be wrong with a load generator.

LoadgenError
├── PathError       a path that cannot be dialled as it is written (also a ValueError)
├── SandboxError    the private namespaces of the lab cannot be entered here
├── LabError        a lab that cannot be built as it is asked for, or not here
├── ClusterError    a cluster that cannot be used as it is asked for, or says no
├── PlanError       a schedule that makes no sense, or a file that holds none (also a ValueError)
├── CheckError      a file of right calls that cannot be read, or is of other reads (also a ValueError)
├── CallError       a request that was not answered rightly
│   └── RejectedError   one the service turned away for now
├── ExperimentError a run that cannot begin or go on
└── ResultsError    a folder of results that cannot be read
"""


class LoadgenError(Exception):
    """Base of what this room raises."""


class PathError(LoadgenError, ValueError):
    """A path that makes no sense."""


class SandboxError(LoadgenError):
    """This machine forbids the private namespaces; the message says what forbids them and what to type."""


class LabError(LoadgenError):
    """The lab cannot be built."""


class ClusterError(LoadgenError):
    """The cluster cannot do what is asked for, does not let us, or is away; the message says which."""


class ExperimentError(LoadgenError):
    """A run that cannot begin or go on; what was measured until then still counts."""


class ResultsError(LoadgenError):
    """Results that cannot be read, or are of another version."""


class PlanError(LoadgenError, ValueError):
    """A plan that makes no sense, or a file that is no plan."""


class CheckError(LoadgenError, ValueError):
    """A file that does not have the right calls of the reads that are sent."""


class CallError(LoadgenError):
    """A request that was not answered rightly; the message says how."""

    retry_after_s: float = 0.0


class RejectedError(CallError):
    """The service turned the request away for now (503), and said for how long."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
