"""What can be dialled, once the pods run: the targets of an overlay as paths. Pure."""

import json
import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from loadgen.errors import ClusterError
from loadgen.paths import Path

Plain = Mapping[str, Any]

NETWORK_STATUS = "k8s.v1.cni.cncf.io/network-status"
"""Annotation in which Multus says which interfaces a pod has."""
SECOND_INTERFACE = "net1"


def paths_of(
    way: str,
    targets: Mapping[str, str],
    *,
    attach: str,
    server: Plain,
    services: Mapping[str, Plain],
    client_address: str,
) -> tuple[Path, ...]:
    """Return the paths of a way, whose targets are URLs with names in braces: k8s/README.md says which.

    `server` is the server's pod, `services` are those of its instance by name, `client_address` is that of
    the clients' node, and `attach` is how clients of these paths are attached. Raises ClusterError where a
    name stands for nothing.
    """

    def known(name: str) -> str:
        match name:
            case "podIP" | "hostIP":
                return str(server["status"][name])
            case "nodeIP":
                return client_address
            case "net1IP":
                return second_address(server)
            case "clusterIP":
                return str(services["fiveways"]["spec"]["clusterIP"])
            case "nodePort":
                return str(services["fiveways-nodeport"]["spec"]["ports"][0]["nodePort"])
        raise ClusterError(f"the target of {way} has a name that nobody knows: {{{name}}}")

    def filled(match: re.Match[str]) -> str:
        try:
            return _in_url(known(match[1]))
        except LookupError as error:
            raise ClusterError(f"nothing is known yet that {{{match[1]}}} of {way} stands for") from error

    return tuple(
        Path(f"{way}/{target}", way, target, re.sub(r"\{(\w+)\}", filled, url), attach=attach)
        for target, url in targets.items()
    )


def second_address(pod: Plain) -> str:
    """Return the address of a pod's second interface. Raises ClusterError where it has none."""
    status = pod["metadata"].get("annotations", {}).get(NETWORK_STATUS, "[]")
    for network in json.loads(status):
        if network.get("interface") == SECOND_INTERFACE and network.get("ips"):
            return str(network["ips"][0])
    raise ClusterError(
        f"pod {pod['metadata']['name']} has no address on {SECOND_INTERFACE}: Multus has not attached it;"
        f" its annotation {NETWORK_STATUS} says {status}"
    )


def _in_url(value: str) -> str:
    """Return an address as URLs have it: in brackets where it is IPv6."""
    try:
        return f"[{value}]" if ip_address(value).version == 6 else value
    except ValueError:
        return value
