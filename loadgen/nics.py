"""By which NIC of this machine a path leaves it, and what the system says of that NIC.

For paths that people type, of which nothing else is known; a lab knows its own.
"""

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import psutil

from loadgen.facts import Fact
from loadgen.paths import Path

_ANY_PORT = 9


def nic_facts(path: Path) -> Iterator[Fact]:
    """Yield what is known of the NIC; nothing where no route leads to the path's address."""
    host = urlsplit(path.url).hostname or ""
    try:
        local, remote = _ends(host)
    except OSError:
        return
    named = [nic for nic, ends in psutil.net_if_addrs().items() if local in {end.address for end in ends}]
    if not named:
        return
    (nic, *_) = named
    yield Fact("client NIC", nic, f"route to {remote}, address {local}", path=path.name)
    stats = psutil.net_if_stats().get(nic)
    if stats:
        yield Fact("MTU", f"{stats.mtu} bytes", f"psutil.net_if_stats {nic}", path=path.name)
        # 0 where the NIC does not say, as those of virtual machines do.
        if stats.speed:
            yield Fact("NIC speed", f"{stats.speed} Mbit/s", f"psutil.net_if_stats {nic}", path=path.name)


def _ends(host: str) -> tuple[str, str]:
    """Return the address here, and the one there, of what would be sent to a host. Raises OSError."""
    family, _, _, _, address = socket.getaddrinfo(host, _ANY_PORT, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as unsent:
        # Connecting a UDP socket asks the routes and sends nothing.
        unsent.connect(address)
        return str(unsent.getsockname()[0]), str(address[0])
