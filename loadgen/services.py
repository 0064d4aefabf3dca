"""Kubernetes Services of one port and one endpoint: those that are dialled, and others."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

POD_CIDR = IPv4Network("10.244.0.0/16")
"""Where pods have their addresses: what comes from elsewhere is masqueraded on its way to a Service."""
SERVICE_CIDR = IPv4Network("10.96.0.0/12")
"""Where Services have their ClusterIPs, which no interface has."""

_FIRST_OTHER = SERVICE_CIDR.network_address + (1 << 16)
_FIRST_OTHER_ENDPOINT = POD_CIDR.network_address + (1 << 15)


@dataclass(frozen=True, slots=True)
class Service:
    """A Service: connections to `cluster_ip`:`port`, or to a node's `node_port`, go to the endpoint."""

    name: str
    cluster_ip: IPv4Address
    port: int
    endpoint: IPv4Address
    endpoint_port: int
    node_port: int | None = None


def other_services(count: int) -> Iterator[Service]:
    """Yield `count` Services that nobody dials; nobody has the addresses of their endpoints."""
    for number in range(count):
        yield Service(
            name=f"other/{number}",
            cluster_ip=_FIRST_OTHER + number,
            port=80,
            endpoint=_FIRST_OTHER_ENDPOINT + number,
            endpoint_port=8080,
        )
