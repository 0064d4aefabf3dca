"""What the kernel counts is read for the namespaces that are named, and is absent where it is not told."""

import sys

import pytest
from sandboxed import require_sandbox, run_in_sandbox

from loadgen.kernel import KernelCounters, kernel_counters, tcp_counts

SNMP = """\
Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: RtoAlgorithm OutSegs RetransSegs InErrs
Tcp: 1 5332 17 0
"""


def test_segments_are_read_by_the_names_of_their_columns() -> None:
    assert tcp_counts(SNMP) == (5332, 17)


@pytest.mark.parametrize("text", ["", "Ip: Forwarding\nIp: 1\n", "Tcp: RtoMin\nTcp: 200\n"])
def test_a_page_without_tcp_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no counters of TCP"):
        tcp_counts(text)


def test_what_was_counted_between_two_looks_is_their_difference() -> None:
    before, after = KernelCounters(1.5, 100, 2), KernelCounters(1.75, 160, 2)
    assert after.since(before) == KernelCounters(0.25, 60, 0)
    assert after.since(KernelCounters(None, None, None)) == KernelCounters(None, None, None)


def test_a_namespace_that_is_gone_has_no_segments() -> None:
    counters = kernel_counters(["/nowhere/netns"])
    assert (counters.segments, counters.retransmits) == (None, None)


COUNT = """
import socket
from loadgen.kernel import kernel_counters
from loadgen.stack import Stack
from loadgen.paths import open_socket

with Stack("busy") as busy, Stack("idle") as idle:
    before = [kernel_counters([stack.file]) for stack in (busy, idle)]
    listener = open_socket(busy.file, socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    client = open_socket(busy.file, socket.AF_INET, socket.SOCK_STREAM)
    client.connect(listener.getsockname())
    accepted, _ = listener.accept()
    for _ in range(50):
        client.sendall(b"x")
        accepted.recv(1)
    both = kernel_counters([busy.file, idle.file])
    after = [kernel_counters([stack.file]) for stack in (busy, idle)]
    print(*(a.since(b).segments for a, b in zip(after, before)), both.segments == after[0].segments)
"""


def test_segments_are_counted_in_the_namespaces_that_are_named_and_in_no_other() -> None:
    require_sandbox()
    done = run_in_sandbox(sys.executable, "-c", COUNT)
    assert done.returncode == 0, done.stderr
    busy, idle, together = done.stdout.split()
    assert int(busy) >= 50
    assert (idle, together) == ("0", "True")
