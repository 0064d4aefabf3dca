from collections.abc import Iterator
from pathlib import Path as File

import live_service
import pytest
import wire_server
from certificates import server_context
from wire_server import WireServer

from loadgen.cluster.path_facts import path_facts, remote_of
from loadgen.facts import Fact
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


@pytest.fixture(scope="module")
def service() -> Iterator[WireServer]:
    with wire_server.serving() as service:
        yield service


def path_to(service: WireServer, target: str) -> Path:
    return Path(f"w/{target}", "w", target, service.url)


def test_a_path_says_its_mtu_and_that_its_packets_are_translated(service: WireServer) -> None:
    facts = {fact.name: fact for fact in path_facts(path_to(service, "clusterip"))}
    lo = int(File("/sys/class/net/lo/mtu").read_text())
    # A packet has 16 bits for its length.
    assert facts["MTU"].value == f"{min(lo, 65535)} bytes"
    assert facts["translation of the Service"].value == "packet by packet (DNAT)"
    assert {fact.path for fact in facts.values()} == {"w/clusterip"}


def test_a_socket_that_is_connected_to_the_server_itself_was_translated_once(
    service: WireServer, tmp_path: File
) -> None:
    # As the kernel's table is under Cilium, which replaces the address when a socket connects.
    rows = "".join(f"   0: 0100007F:{port:04X} 0702F40A:1F40 01 0:0 0:0 0\n" for port in range(1024, 65536))
    (tmp_path / "tcp").write_text(HEADER + rows)
    facts = {fact.name: fact for fact in path_facts(path_to(service, "clusterip"), tmp_path)}
    assert facts["translation of the Service"].value == "once, when the socket connects"
    assert facts["translation of the Service"].source == "/proc/net/tcp: connected to 10.244.2.7:8000"


def test_addresses_of_the_server_itself_are_not_translated(service: WireServer) -> None:
    names = {fact.name for fact in path_facts(path_to(service, "podip"))}
    assert names == {"MTU", "largest segment", "SNAT"}


def snat(service: WireServer, monkeypatch: pytest.MonkeyPatch, seen: str, node: str = "") -> list[Fact]:
    """The fact where the server says that it sees `seen`."""
    monkeypatch.setattr(service, "sees", lambda _address: seen)
    facts = path_facts(path_to(service, "nodeport"), node=node)
    return [fact for fact in facts if fact.name == "SNAT"]


def test_a_server_that_sees_the_clients_own_address_shows_that_nobody_translates_it(
    service: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"GET {service.url}/v1/peer says 127.0.0.1, the client's socket 127.0.0.1"
    fact = Fact("SNAT", "none", source, path="w/nodeport")
    assert snat(service, monkeypatch, "127.0.0.1") == [fact]
    assert snat(service, monkeypatch, "127.0.0.1", node="127.0.0.1") == [fact]


def test_an_address_that_is_not_the_clients_is_told_with_whose_it_is(
    service: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (of_a_node,) = snat(service, monkeypatch, "192.0.2.11", node="192.0.2.11")
    assert of_a_node.value == "yes: the server sees the address 192.0.2.11 of the client's node"
    # Such as that of a node's tunnel.
    (of_nobody,) = snat(service, monkeypatch, "10.244.1.0", node="192.0.2.11")
    assert of_nobody.value == "yes: the server sees the address 10.244.1.0"
    (other_family,) = snat(service, monkeypatch, "fd00::7")
    assert other_family.value == "yes: the server sees the address fd00::7"


@pytest.mark.parametrize("seen", ["", "somebody"])
def test_a_server_that_does_not_tell_gives_no_fact(
    service: WireServer, monkeypatch: pytest.MonkeyPatch, seen: str
) -> None:
    assert snat(service, monkeypatch, seen) == []


def test_the_service_itself_tells_it_over_ipv4_and_ipv6_on_one_socket(ipv6: None) -> None:
    with live_service.serving(host="::") as running:
        for host in ("127.0.0.1", "[::1]"):
            path = Path("w/podip", "w", "podip", f"http://{host}:{running.port}")
            facts = {fact.name: fact.value for fact in path_facts(path)}
            assert facts["SNAT"] == "none"


def test_it_is_asked_over_tls_and_below_a_prefix_too(tmp_path: File) -> None:
    with wire_server.serving(tls=server_context(tmp_path)) as service:
        path = Path("w/gateway", "w", "gateway", f"{service.url}/basecalls")
        facts = {fact.name: fact for fact in path_facts(path)}
    assert facts["SNAT"].value == "none"
    assert facts["SNAT"].source.startswith(f"GET {service.url}/basecalls/v1/peer says 127.0.0.1")
