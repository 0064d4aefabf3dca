"""Run in a sandbox: build a lab, send over every path, and print as JSON what was seen on the way.

Arguments: the settings of the lab as JSON.
"""

import json
import socket
import struct
import sys
import threading
from dataclasses import asdict
from urllib.parse import urlsplit

from loadgen.lab import Lab
from loadgen.node import NIC
from loadgen.paths import Path, open_socket
from loadgen.stack import VXLAN_PORT, Stack
from loadgen.topology import SHAPED, LabSettings

SENT_BYTES = 600_000
BULK_BYTES = 500
"""Frames of at least this size carry what is sent; smaller ones may come late."""
IP_MTU = 14
ETH_P_ALL = 3
PATIENCE_S = 30


def serve(listener: socket.socket) -> None:
    """Answer each connection with how much came, from whom, and to which address."""
    while True:
        connection, (peer, _) = listener.accept()
        with connection:
            count = 0
            while data := connection.recv(1 << 16):
                count += len(data)
            answer = {"received": count, "peer": peer, "at": connection.getsockname()[0]}
            connection.sendall(json.dumps(answer).encode())


def exchange(path: Path) -> dict[str, object]:
    """Send over a path and return the server's answer, with what the kernel holds the MTU to be."""
    url = urlsplit(path.url)
    with open_socket(path.netns, socket.AF_INET, socket.SOCK_STREAM) as client:
        client.settimeout(PATIENCE_S)
        client.connect((url.hostname, url.port))
        client.sendall(bytes(SENT_BYTES))
        client.shutdown(socket.SHUT_WR)
        answer = json.loads(client.recv(1 << 16))
        return answer | {"mtu": client.getsockopt(socket.IPPROTO_IP, IP_MTU)}


class Sniffer:
    """What comes and goes by the NIC of a node."""

    def __init__(self, stack: Stack) -> None:
        self._socket = open_socket(stack.file, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.bind((NIC, 0))
        self._socket.setblocking(False)

    def bulk(self) -> dict[str, int]:
        """Return how many large frames there were since the last look, VXLAN's and others."""
        head = bytearray(64)
        counts = {"vxlan": 0, "plain": 0}
        while True:
            try:
                size = self._socket.recv_into(head, flags=socket.MSG_TRUNC)
            except BlockingIOError:
                return counts
            if size >= BULK_BYTES:
                (port,) = struct.unpack_from(">H", head, 36)
                is_vxlan = head[23] == socket.IPPROTO_UDP and port == VXLAN_PORT
                counts["vxlan" if is_vxlan else "plain"] += 1


def overlimits(stack: Stack, link: str) -> int:
    """Return how often a link's queue had to hold something back."""
    index = stack.index(link)
    queue = next(q for q in stack.kernel.tc("dump", index=index) if q["index"] == index)
    return int(queue.get_nested("TCA_STATS2", "TCA_STATS_QUEUE")["overlimits"])


def main() -> None:
    """Build, send, print."""
    with Lab(LabSettings(**json.loads(sys.argv[1]))) as lab:
        for listener in lab.listeners:
            threading.Thread(target=serve, args=(listener,), daemon=True).start()
        sniffer = Sniffer(lab._nodes["node-b"].stack)
        seen = {}
        for path in lab.paths:
            sniffer.bulk()
            seen[path.name] = exchange(path) | {"bulk": sniffer.bulk()}
        ends = [place for span in lab._spans for place in (span.client, span.server)]
        stacks = {place.stack.name: place.stack for place in ends}
        stacks |= {node.name: node.stack for node in lab._nodes.values()}
        shaped = [span for span in lab._spans if span.path.name.endswith(SHAPED)]
        report = {
            "paths": [asdict(path) for path in lab.paths],
            "seen": seen,
            "listeners": [listener.getsockname() for listener in lab.listeners],
            "addresses": {name: sorted(stack.addresses()) for name, stack in stacks.items()},
            "held_back": {span.path.name: overlimits(span.client.stack, span.client.link) for span in shaped},
            "facts": [asdict(fact) for fact in lab.facts()],
            "absent": [asdict(absence) for absence in lab.absent],
        }
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
