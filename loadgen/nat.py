"""Services as a node's kernel knows them: kube-proxy's rules, in its nftables form and in its iptables form.

Written as pkg/proxy/nftables and pkg/proxy/iptables of Kubernetes 1.31 write them, less what many endpoints,
affinity, load balancers and local traffic policies need, and less the choice among one endpoint. The iptables
form is put into nftables as iptables-nft puts it: tables, chains and order, and so what a new connection
passes, are those of iptables. Makes the messages; `loadgen.nfnetlink` sends them.
"""

import struct
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address
from typing import Literal, get_args

from loadgen import nftables as nft
from loadgen.nfnetlink import Nfnetlink
from loadgen.nftables import Message, Table
from loadgen.services import POD_CIDR, Service

Form = Literal["nftables", "iptables"]
FORMS: tuple[Form, ...] = get_args(Form)

_FILTER_PRIORITY, _DNAT_PRIORITY, _SNAT_PRIORITY = 0, -100, 100
_PROXY, _NAT, _FILTER = Table("kube-proxy"), Table("nat"), Table("filter")
_SERVICE_KEY = ("ipv4_addr", "inet_proto", "inet_service")
_PORT_KEY = ("inet_proto", "inet_service")

_MARK, _NO_MARK = struct.pack("=I", 0x4000), bytes(4)
_ALL_BUT_MARK = struct.pack("=I", 0xFFFFFFFF ^ 0x4000)
_SET_MARK = nft.load_mark() + nft.masked(_ALL_BUT_MARK, _MARK) + nft.store_mark()
_FLIP_MARK = nft.load_mark() + nft.masked(b"\xff" * 4, _MARK) + nft.store_mark()
_MARKED = nft.load_mark() + nft.masked(_MARK, bytes(4)) + nft.equals(_NO_MARK, negated=True)
_UNMARKED = nft.load_mark() + nft.masked(_MARK, bytes(4)) + nft.equals(_NO_MARK)

_SOURCE, _DESTINATION, _PORT, _COUNT = nft.load_saddr(), nft.load_daddr(), nft.load_dport(), nft.counter()
_TCP = nft.load_protocol() + nft.equals(b"\x06")
_FROM_OUTSIDE = _SOURCE + nft.in_network(POD_CIDR, negated=True)
_SERVICE_ADDRESS = nft.load_daddr(0) + nft.load_protocol(1) + nft.load_dport(2)
_SERVICE_PORT = nft.load_protocol(0) + nft.load_dport(1)


def ruleset(form: Form, services: Sequence[Service], node: IPv4Address) -> Iterator[Message]:
    """Yield the messages that make `services` known, in this order, to the node whose address is `node`."""
    return _nftables(services, node) if form == "nftables" else _iptables(services)


def count_services(form: Form, kernel: Nfnetlink) -> int:
    """Return how many Services a kernel knows. Raises LabError."""
    if form == "nftables":
        return kernel.elements(_PROXY, "service-ips")
    # Less the last one, which is for NodePorts.
    return kernel.rules(_NAT, "KUBE-SERVICES") - 1


def _nftables(services: Sequence[Service], node: IPv4Address) -> Iterator[Message]:
    """kube-proxy --proxy-mode=nftables. Base chains come last: the kernel looks for loops below them."""
    table = _PROXY
    yield table.create()
    yield table.address_set("nodeport-ips")
    for name, key in (
        ("service-ips", _SERVICE_KEY),
        ("service-nodeports", _PORT_KEY),
        ("no-endpoint-services", _SERVICE_KEY),
        ("no-endpoint-nodeports", _PORT_KEY),
        ("firewall-ips", _SERVICE_KEY),
    ):
        yield table.verdict_map(name, key)
    for chain in ("services", "masquerading", "mark-for-masquerade", "endpoints-check", "firewall-check"):
        yield table.chain(chain)
    to_nodeport = _DESTINATION + nft.in_set("nodeport-ips") + _SERVICE_PORT
    yield table.rule("mark-for-masquerade", _SET_MARK)
    yield table.rule("masquerading", _UNMARKED, nft.verdict(("return", "")))
    yield table.rule("masquerading", _FLIP_MARK)
    yield table.rule("masquerading", nft.masquerade())
    yield table.rule("services", _SERVICE_ADDRESS, nft.verdict_of("service-ips"))
    yield table.rule("services", to_nodeport, nft.verdict_of("service-nodeports"))
    yield table.rule("endpoints-check", _SERVICE_ADDRESS, nft.verdict_of("no-endpoint-services"))
    yield table.rule("endpoints-check", to_nodeport, nft.verdict_of("no-endpoint-nodeports"))
    yield table.rule("firewall-check", _SERVICE_ADDRESS, nft.verdict_of("firewall-ips"))

    mark = nft.verdict(("jump", "mark-for-masquerade"))
    for service in services:
        at_service, at_endpoint = _service_chain(service), f"endpoint-{service.name}"
        yield table.chain(at_service)
        yield table.chain(at_endpoint)
        yield table.rule(at_endpoint, _SOURCE, nft.equals(service.endpoint.packed), mark)
        yield table.rule(at_endpoint, _TCP, nft.dnat_to(service.endpoint, service.endpoint_port))
        to_cluster_ip = _DESTINATION + nft.equals(service.cluster_ip.packed)
        yield table.rule(at_service, to_cluster_ip, _FROM_OUTSIDE, mark)
        yield table.rule(at_service, nft.verdict(("goto", at_endpoint)))
        if service.node_port is not None:
            from_outside = _external_chain(service)
            yield table.chain(from_outside)
            yield table.rule(from_outside, mark)
            yield table.rule(from_outside, nft.verdict(("goto", at_service)))
    yield from table.elements("nodeport-ips", [(node.packed, None)])
    yield from table.elements(
        "service-ips",
        ((nft.service_key(s.cluster_ip, s.port), ("goto", _service_chain(s))) for s in services),
    )
    yield from table.elements(
        "service-nodeports",
        (
            (nft.port_key(s.node_port), ("goto", _external_chain(s)))
            for s in services
            if s.node_port is not None
        ),
    )

    is_new = nft.new_connection()
    for hook in ("prerouting", "input", "forward", "output"):
        yield table.base_chain(f"filter-{hook}", "filter", hook, _DNAT_PRIORITY - 10)
    for hook in ("input", "forward", "output"):
        yield table.rule(f"filter-{hook}", is_new, nft.verdict(("jump", "endpoints-check")))
    for hook in ("prerouting", "output"):
        yield table.rule(f"filter-{hook}", is_new, nft.verdict(("jump", "firewall-check")))
    for hook in ("prerouting", "output"):
        yield table.base_chain(f"nat-{hook}", "nat", hook, _DNAT_PRIORITY)
        yield table.rule(f"nat-{hook}", nft.verdict(("jump", "services")))
    yield table.base_chain("nat-postrouting", "nat", "postrouting", _SNAT_PRIORITY)
    yield table.rule("nat-postrouting", nft.verdict(("jump", "masquerading")))


def _service_chain(service: Service) -> str:
    return f"service-{service.name}"


def _external_chain(service: Service) -> str:
    return f"external-{service.name}"


def _iptables(services: Sequence[Service]) -> Iterator[Message]:
    """kube-proxy --proxy-mode=iptables. Base chains come last: the kernel looks for loops below them."""
    yield from _iptables_filter()
    table = _NAT
    yield table.create()
    for chain in ("KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ"):
        yield table.chain(chain)
    yield table.rule("KUBE-MARK-MASQ", _COUNT, _SET_MARK)
    yield table.rule("KUBE-POSTROUTING", _UNMARKED, _COUNT, nft.verdict(("return", "")))
    yield table.rule("KUBE-POSTROUTING", _COUNT, _FLIP_MARK)
    yield table.rule("KUBE-POSTROUTING", _COUNT, nft.masquerade())

    mark = _COUNT + nft.verdict(("jump", "KUBE-MARK-MASQ"))
    for service in services:
        at_service, at_endpoint = f"KUBE-SVC-{service.name}", f"KUBE-SEP-{service.name}"
        yield table.chain(at_service)
        yield table.chain(at_endpoint)
        yield table.rule(at_endpoint, _SOURCE, nft.equals(service.endpoint.packed), mark)
        yield table.rule(at_endpoint, _TCP, _COUNT, nft.dnat_to(service.endpoint, service.endpoint_port))
        to_cluster_ip = _DESTINATION + nft.equals(service.cluster_ip.packed) + _TCP + _to_port(service.port)
        yield table.rule(at_service, _FROM_OUTSIDE, to_cluster_ip, mark)
        yield table.rule(at_service, _COUNT, nft.verdict(("jump", at_endpoint)))
        yield table.rule("KUBE-SERVICES", to_cluster_ip, _COUNT, nft.verdict(("jump", at_service)))
        if service.node_port is not None:
            from_outside = f"KUBE-EXT-{service.name}"
            yield table.chain(from_outside)
            yield table.rule(from_outside, mark)
            yield table.rule(from_outside, _COUNT, nft.verdict(("jump", at_service)))
            yield table.rule(
                "KUBE-NODEPORTS",
                _TCP,
                _to_port(service.node_port),
                _COUNT,
                nft.verdict(("jump", from_outside)),
            )
    yield table.rule("KUBE-SERVICES", nft.to_local_address(), _COUNT, nft.verdict(("jump", "KUBE-NODEPORTS")))

    for hook in ("prerouting", "output"):
        yield table.base_chain(hook.upper(), "nat", hook, _DNAT_PRIORITY)
        yield table.rule(hook.upper(), _COUNT, nft.verdict(("jump", "KUBE-SERVICES")))
    yield table.base_chain("POSTROUTING", "nat", "postrouting", _SNAT_PRIORITY)
    yield table.rule("POSTROUTING", _COUNT, nft.verdict(("jump", "KUBE-POSTROUTING")))


def _iptables_filter() -> Iterator[Message]:
    """The filter table, most of which is passed by every packet."""
    table = _FILTER
    yield table.create()
    for chain in ("KUBE-FORWARD", "KUBE-SERVICES", "KUBE-PROXY-FIREWALL"):
        yield table.chain(chain)
    accept = _COUNT + nft.verdict(("accept", ""))
    yield table.rule("KUBE-FORWARD", nft.invalid_packet(), _COUNT, nft.verdict(("drop", "")))
    yield table.rule("KUBE-FORWARD", _MARKED, accept)
    yield table.rule("KUBE-FORWARD", nft.known_connection(), accept)
    for hook in ("input", "forward", "output"):
        chain = hook.upper()
        yield table.base_chain(chain, "filter", hook, _FILTER_PRIORITY)
        for new_ones_to in ("KUBE-PROXY-FIREWALL", "KUBE-SERVICES"):
            jump = nft.verdict(("jump", new_ones_to))
            yield table.rule(chain, nft.new_connection(), _COUNT, jump)
    yield table.rule("FORWARD", _COUNT, nft.verdict(("jump", "KUBE-FORWARD")))


def _to_port(port: int) -> bytes:
    return _PORT + nft.equals(struct.pack(">H", port))
