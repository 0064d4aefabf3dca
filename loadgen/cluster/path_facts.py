"""What the kernel of a client says of a path, once a connection to the service is open. Linux."""

import socket
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path as File
from urllib.parse import urlsplit

from loadgen.facts import Fact
from loadgen.paths import Path

CONNECT_S = 5.0
TRANSLATED = ("clusterip", "nodeport")
"""Targets that are no address of the server, so that somebody must translate them."""
_IP_MTU, _IPV6_MTU = 14, 24
"""Options of Linux that Python has no names for."""


def path_facts(path: Path, tables: File = File("/proc/net")) -> Iterator[Fact]:
    """Yield facts of one path. Raises OSError where it cannot be dialled."""
    parts = urlsplit(path.url)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    with socket.create_connection((parts.hostname or "", port), CONNECT_S) as connection:
        dialled = connection.getpeername()
        v6 = connection.family == socket.AF_INET6
        level, option = (socket.IPPROTO_IPV6, _IPV6_MTU) if v6 else (socket.IPPROTO_IP, _IP_MTU)
        mtu = connection.getsockopt(level, option)
        yield Fact("MTU", f"{mtu} bytes", f"IP_MTU of a connection to {path.url}", path=path.name)
        segment = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        yield Fact(
            "largest segment", f"{segment} bytes", f"TCP_MAXSEG of a connection to {path.url}", path=path.name
        )
        if path.target in TRANSLATED:
            table = tables / ("tcp6" if v6 else "tcp")
            yield from _translation(path, connection.getsockname()[1], dialled[:2], table)


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
