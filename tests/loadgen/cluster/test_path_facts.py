import socket
from pathlib import Path as File

import pytest

from loadgen.cluster.path_facts import path_facts, remote_of
from loadgen.paths import Path

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
V4 = HEADER + (
    "   0: 0702F40A:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000 65532\n"
    "   1: 0302F40A:C350 0201600A:1F40 01 00000000:00000000 00:00000000 00000000 65532\n"
)


def test_the_other_end_is_read_from_the_kernels_table() -> None:
    assert remote_of(V4, 0xC350) == ("10.96.1.2", 8000)


def test_listening_sockets_and_strangers_have_no_other_end() -> None:
    assert remote_of(V4, 0x1F40) is None
    assert remote_of(V4, 1) is None


def test_ipv6_is_read_likewise() -> None:
    line = "   0: 000000FD000000000000000001000000:C350 000000FD000000000000000007000000:1F40 01 0:0 0:0 0\n"
    assert remote_of(HEADER + line, 0xC350) == ("fd00::7", 8000)


@pytest.fixture
def listener() -> "socket.socket":
    return socket.create_server(("127.0.0.1", 0))


def test_a_path_says_its_mtu_and_that_its_packets_are_translated(listener: socket.socket) -> None:
    with listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        facts = {fact.name: fact for fact in path_facts(Path("w/clusterip", "w", "clusterip", url))}
        lo = int(File("/sys/class/net/lo/mtu").read_text())
        # A packet has 16 bits for its length.
        assert facts["MTU"].value == f"{min(lo, 65535)} bytes"
        assert facts["translation of the Service"].value == "packet by packet (DNAT)"
        assert {fact.path for fact in facts.values()} == {"w/clusterip"}


def test_a_socket_that_is_connected_to_the_server_itself_was_translated_once(
    listener: socket.socket, tmp_path: File
) -> None:
    # As the kernel's table is under Cilium, which replaces the address when a socket connects.
    with listener, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = listener.getsockname()
        rows = "".join(
            f"   0: 0100007F:{port:04X} 0702F40A:1F40 01 0:0 0:0 0\n" for port in range(1024, 65536)
        )
        (tmp_path / "tcp").write_text(HEADER + rows)
        path = Path("w/clusterip", "w", "clusterip", f"http://127.0.0.1:{address[1]}")
        facts = {fact.name: fact for fact in path_facts(path, tmp_path)}
    assert facts["translation of the Service"].value == "once, when the socket connects"
    assert facts["translation of the Service"].source == "/proc/net/tcp: connected to 10.244.2.7:8000"


def test_addresses_of_the_server_itself_are_not_translated(listener: socket.socket) -> None:
    with listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        names = {fact.name for fact in path_facts(Path("w/podip", "w", "podip", url))}
    assert names == {"MTU", "largest segment"}
