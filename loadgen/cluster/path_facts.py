"""What is known of a path once a connection to the service is open: from the client's kernel, and from the
server, which says whom it sees. Linux."""

import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from pathlib import Path as File
from urllib.parse import urlsplit

from loadgen.facts import Fact
from loadgen.paths import Path

ANSWER_S = 5.0
"""How long a connection and an answer may take."""
MOST_BYTES = 1024
"""Of an answer that is an address and a port."""
TRANSLATED = ("clusterip", "nodeport")
"""Targets that are no address of the server, so that somebody must translate them."""
_IP_MTU, _IPV6_MTU = 14, 24
"""Options of Linux that Python has no names for."""


def path_facts(path: Path, tables: File = File("/proc/net"), *, node: str = "") -> Iterator[Fact]:
    """Yield facts of one path; `node` is the address of the client's node, empty where it is not known.

    Raises OSError where the path cannot be dialled.
    """
    with closing(_connected(path)) as connection:
        dialled, own = connection.sock.getpeername()[:2], connection.sock.getsockname()[:2]
        v6 = connection.sock.family == socket.AF_INET6
        level, option = (socket.IPPROTO_IPV6, _IPV6_MTU) if v6 else (socket.IPPROTO_IP, _IP_MTU)
        mtu = connection.sock.getsockopt(level, option)
        yield Fact("MTU", f"{mtu} bytes", f"IP_MTU of a connection to {path.url}", path=path.name)
        segment = connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        yield Fact(
            "largest segment", f"{segment} bytes", f"TCP_MAXSEG of a connection to {path.url}", path=path.name
        )
        if path.target in TRANSLATED:
            table = tables / ("tcp6" if v6 else "tcp")
            yield from _translation(path, own[1], dialled, table)
        yield from _source_translation(path, connection, own[0], node)


def _connected(path: Path) -> HTTPConnection:
    parts = urlsplit(path.url)
    host = parts.hostname or ""
    connection: HTTPConnection
    if parts.scheme == "https":
        # As whoever sends over it does.
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        connection = HTTPSConnection(host, parts.port or 443, timeout=ANSWER_S, context=trusting)
    else:
        connection = HTTPConnection(host, parts.port or 80, timeout=ANSWER_S)
    connection.connect()
    return connection


def _translation(path: Path, local_port: int, dialled: tuple[str, int], table: File) -> Iterator[Fact]:
    """Say where an address is translated: a socket that is connected to the server itself was given its
    address when it connected; one that is connected to what was dialled has its packets translated, one by
    one."""
    remote = remote_of(table.read_text(encoding="ascii"), local_port)
    if remote is None:
        return
    value = "packet by packet (DNAT)" if remote == dialled else "once, when the socket connects"
    shown = f"{remote[0]}:{remote[1]}"
    yield Fact(
        "translation of the Service", value, f"/proc/net/{table.name}: connected to {shown}", path=path.name
    )


def _source_translation(path: Path, connection: HTTPConnection, own: str, node: str) -> Iterator[Fact]:
    """Say whether the server sees the address that this end of the connection has; nothing where it is a
    service that does not tell."""
    connection.request("GET", f"{urlsplit(path.url).path}/v1/peer")
    try:
        answer = connection.getresponse()
        seen = ip_address(json.loads(answer.read(MOST_BYTES))["address"]) if answer.status == 200 else None
    except (HTTPException, ValueError, LookupError, TypeError):
        return
    if seen is None:
        return
    whose = " of the client's node" if str(seen) == node else ""
    value = "none" if seen == ip_address(own) else f"yes: the server sees the address {seen}{whose}"
    source = f"GET {path.url}/v1/peer says {seen}, the client's socket {own}"
    yield Fact("SNAT", value, source, path=path.name)


def remote_of(table: str, local_port: int) -> tuple[str, int] | None:
    """Return the address and port that the kernel has for the other end of a connection, from a table as
    /proc/net/tcp is; None where it is not in it."""
    for line in table.splitlines()[1:]:
        _, local, remote, *_ = line.split()
        if int(local.rpartition(":")[2], 16) == local_port and int(remote.rpartition(":")[2], 16):
            address, _, port = remote.partition(":")
            return _address(address), int(port, 16)
    return None


def _address(hexadecimal: str) -> str:
    """Return an address that is written as 32-bit words in the order of a little-endian machine."""
    raw = bytes.fromhex(hexadecimal)
    words = (raw[start : start + 4][::-1] for start in range(0, len(raw), 4))
    return str(ip_address(b"".join(words)))
