"""The messages and expressions of nftables as bytes: what goes over netlink when a ruleset is made.

The wire is that of linux/netfilter/nf_tables.h. It is written here, not taken from a library, because 20 000
Services are half a million attributes, and no library at hand has verdict maps. Knows what nftables can say
and nothing of what anybody means by it; `loadgen.nfnetlink` sends it.
"""

import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

from loadgen.attributes import LARGEST_PAYLOAD_BYTES, attribute, be32, nest, text

NEWTABLE, NEWCHAIN, NEWRULE, NEWSET, NEWSETELEM = 0, 3, 6, 9, 12
_VERDICT_REGISTER = 0
_VERDICT_TYPE = 0xFFFFFF00
_KEY_TYPES = {"ipv4_addr": 7, "inet_proto": 12, "inet_service": 13}
"""Numbers that only those who list the ruleset look at: what the parts of a key mean."""
_PART_BYTES = 4
"""Every part of a key fills a register."""
_HOOKS = {"prerouting": 0, "input": 1, "forward": 2, "output": 3, "postrouting": 4}
_VERDICTS = {"drop": 0, "accept": 1, "jump": -3, "goto": -4, "return": -5}
_TCP = 6

Act = Literal["drop", "accept", "jump", "goto", "return"]
Verdict = tuple[Act, str]
"""What happens to a packet, and the chain that `jump` and `goto` name (empty otherwise)."""


@dataclass(frozen=True, slots=True)
class Message:
    """One change of a ruleset, encoded; `what` tells people which."""

    what: str
    kind: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Table:
    """A table of family ip. Tables, chains and maps are added before what names them."""

    name: str

    def create(self) -> Message:
        """Add the table."""
        return Message(f"table {self.name}", NEWTABLE, text(1, self.name))

    def chain(self, name: str) -> Message:
        """Add a chain that others jump to."""
        return Message(f"chain {name}", NEWCHAIN, text(1, self.name) + text(3, name))

    def base_chain(self, name: str, kind: Literal["nat", "filter"], hook: str, priority: int) -> Message:
        """Add a chain that packets come to at `hook`; what falls off its end is accepted."""
        at = nest(4, be32(1, _HOOKS[hook]) + be32(2, priority))
        accept = be32(5, _VERDICTS["accept"])
        return Message(
            f"chain {name}", NEWCHAIN, text(1, self.name) + text(3, name) + at + accept + text(7, kind)
        )

    def rule(self, chain: str, *expressions: bytes) -> Message:
        """Add a rule at the end of a chain; a packet that fails one expression leaves the rule."""
        return Message(
            f"rule of {chain}",
            NEWRULE,
            text(1, self.name) + text(2, chain) + nest(4, b"".join(expressions)),
        )

    def address_set(self, name: str) -> Message:
        """Add a set of IPv4 addresses."""
        return self._set(name, ("ipv4_addr",), flags=0, data=b"")

    def verdict_map(self, name: str, key: tuple[str, ...]) -> Message:
        """Add a map from `key`, parts of _KEY_TYPES, to verdicts."""
        return self._set(name, key, flags=0x8, data=be32(6, _VERDICT_TYPE))

    def elements(self, name: str, elements: Iterable[tuple[bytes, Verdict | None]]) -> Iterator[Message]:
        """Add elements to a set or map: packed keys and, in a map, their verdicts."""
        head = text(1, self.name) + text(2, name)
        parts = b""
        for key, verdict in elements:
            data = b"" if verdict is None else nest(2, _verdict(verdict))
            element = nest(1, nest(1, attribute(1, key)) + data)
            if len(parts) + len(element) > LARGEST_PAYLOAD_BYTES:
                yield Message(f"elements of {name}", NEWSETELEM, head + nest(3, parts))
                parts = b""
            parts += element
        if parts:
            yield Message(f"elements of {name}", NEWSETELEM, head + nest(3, parts))

    def _set(self, name: str, key: tuple[str, ...], *, flags: int, data: bytes) -> Message:
        number = 0
        for part in key:
            number = number << 6 | _KEY_TYPES[part]
        # The kernel wants an id, by which messages of the same batch could name the set; none of ours do.
        body = text(1, self.name) + text(2, name) + be32(3, flags) + be32(4, number)
        return Message(f"set {name}", NEWSET, body + be32(5, _PART_BYTES * len(key)) + data + be32(10, 1))


def address_key(address: IPv4Address) -> bytes:
    """Pack an address as a key."""
    return address.packed


def service_key(address: IPv4Address, port: int) -> bytes:
    """Pack ipv4_addr . inet_proto . inet_service."""
    return address.packed + port_key(port)


def port_key(port: int) -> bytes:
    """Pack inet_proto . inet_service."""
    return struct.pack("B3x", _TCP) + struct.pack(">H2x", port)


# A packet's values are loaded into 4-byte registers; without a number, into the first, where the others look.


def load_daddr(register: int = 0) -> bytes:
    """Load ip daddr."""
    return _payload(register, base=1, offset=16, length=4)


def load_saddr(register: int = 0) -> bytes:
    """Load ip saddr."""
    return _payload(register, base=1, offset=12, length=4)


def load_protocol(register: int = 0) -> bytes:
    """Load meta l4proto."""
    return _expression("meta", be32(2, 16) + _register(1, register))


def load_dport(register: int = 0) -> bytes:
    """Load th dport."""
    return _payload(register, base=2, offset=2, length=2)


def load_mark() -> bytes:
    """Load meta mark."""
    return _expression("meta", be32(2, 3) + _register(1))


def store_mark() -> bytes:
    """Set meta mark to what is loaded."""
    return _expression("meta", be32(2, 3) + _register(3))


def equals(value: bytes, *, negated: bool = False) -> bytes:
    """Leave the rule unless what is loaded is `value` (or, negated, if it is)."""
    return _expression("cmp", _register(1) + be32(2, int(negated)) + nest(3, attribute(1, value)))


def masked(mask: bytes, xor: bytes) -> bytes:
    """Replace what is loaded by (it & mask) ^ xor."""
    return _expression(
        "bitwise",
        _register(1)
        + _register(2)
        + be32(3, len(mask))
        + nest(4, attribute(1, mask))
        + nest(5, attribute(1, xor)),
    )


def in_network(network: IPv4Network, *, negated: bool = False) -> bytes:
    """Leave the rule unless the address that is loaded lies in `network` (or, negated, if it does)."""
    mask = b"" if network.prefixlen == 32 else masked(network.netmask.packed, bytes(4))
    return mask + equals(network.network_address.packed, negated=negated)


def in_set(name: str) -> bytes:
    """Leave the rule unless what is loaded is in a set."""
    return _expression("lookup", text(1, name) + _register(2))


def verdict_of(name: str) -> bytes:
    """Do what a map says about what is loaded, beginning in the first register."""
    return _expression("lookup", text(1, name) + _register(2) + be32(3, _VERDICT_REGISTER))


def new_connection() -> bytes:
    """Leave the rule unless ct state is new."""
    return _connection_state(0x8)


def known_connection() -> bytes:
    """Leave the rule unless ct state is established or related."""
    return _connection_state(0x2 | 0x4)


def invalid_packet() -> bytes:
    """Leave the rule unless ct state is invalid."""
    return _connection_state(0x1)


def to_local_address() -> bytes:
    """Leave the rule unless fib daddr type is local."""
    fib = _expression("fib", _register(1) + be32(2, 3) + be32(3, 0x2))
    return fib + equals(struct.pack("=I", 2))


def counter() -> bytes:
    """Count packets and bytes."""
    return _expression("counter", attribute(1, bytes(8)) + attribute(2, bytes(8)))


def verdict(what: Verdict) -> bytes:
    """Do `what`."""
    return _expression("immediate", be32(1, _VERDICT_REGISTER) + nest(2, _verdict(what)))


def dnat_to(address: IPv4Address, port: int) -> bytes:
    """Rewrite the destination of the connection."""
    address_and_port_given = 0x1 | 0x2
    return (
        _immediate(0, address.packed)
        + _immediate(1, struct.pack(">H", port))
        + _expression(
            "nat",
            be32(1, 1)
            + be32(2, socket.AF_INET)
            + _register(3, 0)
            + _register(5, 1)
            + be32(7, address_and_port_given),
        )
    )


def masquerade() -> bytes:
    """Rewrite the source of the connection to this node's address, at a random port (fully-random)."""
    return _expression("masq", be32(1, 0x10))


def _connection_state(bits: int) -> bytes:
    mask = struct.pack("=I", bits)
    return (
        _expression("ct", be32(2, 0) + _register(1)) + masked(mask, bytes(4)) + equals(bytes(4), negated=True)
    )


def _payload(register: int, *, base: int, offset: int, length: int) -> bytes:
    return _expression("payload", _register(1, register) + be32(2, base) + be32(3, offset) + be32(4, length))


def _immediate(register: int, value: bytes) -> bytes:
    return _expression("immediate", _register(1, register) + nest(2, attribute(1, value)))


def _verdict(what: Verdict) -> bytes:
    act, chain = what
    return nest(2, be32(1, _VERDICTS[act]) + (text(2, chain) if chain else b""))


def _expression(name: str, data: bytes) -> bytes:
    return nest(1, text(1, name) + nest(2, data))


def _register(kind: int, number: int = 0) -> bytes:
    """Name the 4-byte register `number`; the kernel counts them from 8."""
    return be32(kind, 8 + number)
