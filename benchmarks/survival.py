"""Replicas that go away under a client: every read that it was given comes back, once, right, and in order.

`kill`: one of three is killed every few seconds, as by a crash. `rolling`: all are restarted in turn by
SIGTERM, as by a rollout. Loopback only.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.measure import Finding
from benchmarks.paced import PacedCaller
from benchmarks.replica import Replica
from models.basecaller import call as call_in_process
from reads.read import Calibration, Read
from service.client import Client
from service.client_errors import NotCalledError

REPLICAS = 3
BATCH_S = 0.1
READ_SAMPLES = 2_000, 60_000
"""The shortest and the longest read."""
DIFFERENT_READS = 50


@dataclass(slots=True)
class Outcome:
    """What became of the reads that one client was given, in the order in which they came back."""

    sent: int = 0
    called: int = 0
    bases: int = 0
    out_of_order: int = 0
    wrong: int = 0
    problems: list[str] = field(default_factory=list)


def kill(folder: Path, seconds: float, every_s: float) -> list[Finding]:
    """Kill one of three replicas every `every_s`, for `seconds`."""

    def crash(replica: Replica) -> None:
        replica.kill()
        replica.start()

    return _survive(folder, seconds, every_s, crash)


def rolling(folder: Path, seconds: float, every_s: float) -> list[Finding]:
    """Restart the replicas in turn, one every `every_s`, for `seconds`."""
    statuses: list[int] = []

    def restart(replica: Replica) -> None:
        statuses.append(replica.end())
        replica.start()

    findings = _survive(folder, seconds, every_s, restart)
    good = statuses.count(0)
    return [*findings, Finding("restarts that drained and ended with 0", good, "all", good == len(statuses))]


def _survive(
    folder: Path, seconds: float, every_s: float, disturb: Callable[[Replica], None]
) -> list[Finding]:
    known = _known_reads()
    over = threading.Event()
    troubles: list[BaseException] = []
    disturbed = 0
    with ExitStack() as stack:
        replicas = [
            stack.enter_context(Replica(folder / f"replica-{number}.log", batch_s=BATCH_S))
            for number in range(REPLICAS)
        ]

        def disturb_them() -> None:
            nonlocal disturbed
            ends_s = time.monotonic() + seconds
            try:
                # At least all of them, however slow the machine.
                while disturbed < REPLICAS or time.monotonic() < ends_s:
                    over.wait(every_s)
                    disturb(replicas[disturbed % REPLICAS])
                    disturbed += 1
            except BaseException as error:
                troubles.append(error)
                raise
            finally:
                over.set()

        disturber = threading.Thread(target=disturb_them)
        client = stack.enter_context(Client([replica.url for replica in replicas]))
        began_s = time.monotonic()
        disturber.start()
        outcome = _call(client, known, over)
        took_s = time.monotonic() - began_s
        disturber.join()
        if troubles:
            raise troubles[0]
        lost = outcome.sent - outcome.called
        return [
            Finding("reads", outcome.sent),
            Finding("bases/s", outcome.bases / took_s),
            Finding("replicas that went away", disturbed),
            Finding("requests refused, and sent again", client.refusals),
            Finding("requests lost with a connection, and sent again", client.losses),
            Finding("reads lost", lost, "0", lost == 0),
            Finding(
                "reads out of their order, or twice", outcome.out_of_order, "0", outcome.out_of_order == 0
            ),
            Finding("calls that differ from the call in process", outcome.wrong, "0", outcome.wrong == 0),
            Finding("failures that the client saw", len(outcome.problems), "0", not outcome.problems),
            *(Finding("a failure", problem) for problem in outcome.problems[:3]),
        ]


def _known_reads() -> list[tuple[Read, str]]:
    """Return reads, and their calls made in this process."""
    rng = np.random.default_rng(1)
    reads = [
        Read(
            f"known-{number}",
            rng.integers(-500, 1500, int(rng.integers(*READ_SAMPLES))).astype(np.int16),
            Calibration(0.0, 1.0),
            PacedCaller.sample_rate,
        )
        for number in range(DIFFERENT_READS)
    ]
    return [(read, call.sequence) for read, call in call_in_process(PacedCaller(0.0), reads)]


def _call(client: Client, known: list[tuple[Read, str]], over: threading.Event) -> Outcome:
    """Call the known reads again and again until it is over."""
    outcome = Outcome()

    def source() -> Iterator[Read]:
        while not over.is_set():
            read, _ = known[outcome.sent % len(known)]
            yield Read(f"read-{outcome.sent}", read.signal, read.calibration, read.sample_rate)
            outcome.sent += 1

    def problem(read: Read, error: NotCalledError) -> None:
        outcome.problems.append(f"{read.read_id}: {error}")

    for read, call in client.call(source(), client.model(), on_problem=problem):
        number = int(read.read_id.removeprefix("read-"))
        outcome.out_of_order += number != outcome.called + len(outcome.problems)
        outcome.wrong += call.sequence != known[number % len(known)][1]
        outcome.called += 1
        outcome.bases += len(call.sequence)
    return outcome
