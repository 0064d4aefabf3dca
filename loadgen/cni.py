"""Pods plugged by the CNI project's own plugins, called as container runtimes call them.

The Container Network Interface, version 1.0 (github.com/containernetworking/cni, SPEC.md): a plugin is a
program that is run in the network namespace of the node, told what to do by CNI_* variables and the network's
configuration on its stdin, and answers with JSON. DEL is never called: what ADD makes ends with the
namespaces. Knows no topology.
"""

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path as File
from typing import Any

import orjson

from loadgen.errors import LabError
from loadgen.netns import Netns, entered

VERSIONS = ("1.0.0", "0.4.0", "0.3.1")
"""Of the specification, the preferred one first; their answers are alike in what is read of them here."""
IPAM = "host-local"
ANSWER_S = 30.0
"""How long a plugin may take."""
_MANY = 12
"""No more names than this are listed in a complaint."""


class Plugins:
    """The plugins in a folder, and what they must remember of a lab, which ends with `lifetime`."""

    def __init__(self, folder: File, needed: Sequence[str], lifetime: ExitStack) -> None:
        """Find the plugins `needed`, and IPAM. Raises LabError where one is missing."""
        self.folder = folder
        self.names = (*needed, IPAM)
        _check(folder, self.names)
        self._state = lifetime.enter_context(tempfile.TemporaryDirectory(prefix="fiveways-cni-"))
        self._versions: dict[str, str] = {}

    def plug(
        self,
        plugin: str,
        node: Netns,
        pod: Netns,
        link: str,
        *,
        network: IPv4Network,
        first: IPv4Address,
        routed: bool,
        **options: Any,
    ) -> IPv4Address:
        """Have `plugin` make `link` in `pod`, on `node`, and return its address: the lowest free one of
        `network` from `first` on. Where `routed`, the network's first address is the way to anywhere.

        Raises LabError, with what the plugin complains of.
        """
        addresses: dict[str, str] = {"subnet": str(network), "rangeStart": str(first)}
        if routed:
            addresses["gateway"] = str(network[1])
        configuration = {
            "cniVersion": self._version(plugin),
            # host-local remembers by name which addresses it has given away; nodes share this folder.
            "name": f"{node.name}-{network.network_address}",
            "type": plugin,
            **options,
            "ipam": {
                "type": IPAM,
                "dataDir": self._state,
                "ranges": [[addresses]],
                "routes": [{"dst": "0.0.0.0/0"}] if routed else [],
            },
        }
        variables = {
            "CNI_COMMAND": "ADD",
            "CNI_CONTAINERID": f"fiveways-{pod.descriptor}",
            "CNI_NETNS": pod.file,
            "CNI_IFNAME": link,
        }
        with entered(node.descriptor):
            answer = self._call(plugin, variables, configuration)
        try:
            return IPv4Interface(answer["ips"][0]["address"]).ip
        except (LookupError, TypeError, ValueError) as error:
            raise LabError(f"the CNI plugin {self.folder / plugin} gave no IPv4 address: {answer}") from error

    def describe(self, plugin: str) -> str:
        """Return which plugin it is: what it says itself, and what its file is. Raises LabError."""
        file = self.folder / plugin
        said = _run([file, "--version"], {}, b"").stderr.decode(errors="replace").splitlines()
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        return f"{said[0].strip() if said else 'it does not say its version'}; SHA-256 {digest[:16]}"

    def _version(self, plugin: str) -> str:
        """Return the newest version of the specification that this room and a plugin both know."""
        if plugin not in self._versions:
            answer = self._call(plugin, {"CNI_COMMAND": "VERSION"}, {"cniVersion": VERSIONS[0]})
            supported = answer.get("supportedVersions", [])
            both = [version for version in VERSIONS if version in supported]
            if not both:
                raise LabError(
                    f"the CNI plugin {self.folder / plugin} knows the specification in"
                    f" {', '.join(supported)}, and must know it in one of {', '.join(VERSIONS)}"
                )
            self._versions[plugin] = both[0]
        return self._versions[plugin]

    def _call(
        self, plugin: str, variables: Mapping[str, str], configuration: Mapping[str, Any]
    ) -> dict[str, Any]:
        variables = {**variables, "CNI_PATH": str(self.folder)}
        done = _run([self.folder / plugin], variables, orjson.dumps(configuration))
        try:
            answer = orjson.loads(done.stdout)
        except orjson.JSONDecodeError:
            answer = None
        if done.returncode == 0 and isinstance(answer, dict):
            return answer
        said = f"{answer.get('msg')} {answer.get('details', '')}" if isinstance(answer, dict) else ""
        why = said.strip() or done.stderr.decode(errors="replace").strip() or "it answers with no JSON"
        raise LabError(f"the CNI plugin {self.folder / plugin} does not do it: {why}")


def _check(folder: File, needed: Sequence[str]) -> None:
    if not folder.is_dir():
        raise LabError(f"{folder} is no folder of CNI plugins, such as /opt/cni/bin or /usr/lib/cni")
    missing = [name for name in needed if not os.access(folder / name, os.X_OK)]
    if missing:
        there = sorted(file.name for file in folder.iterdir())[:_MANY]
        raise LabError(
            f"{folder} has no CNI plugin {', '.join(missing)}; it has {', '.join(there) or 'nothing'}."
            " On Debian and Ubuntu: apt-get install containernetworking-plugins, then --cni-bin /usr/lib/cni"
        )


def _run(
    command: Sequence[str | File], variables: Mapping[str, str], stdin: bytes
) -> "subprocess.CompletedProcess[bytes]":
    environment = {"PATH": os.environ.get("PATH", os.defpath), **variables}
    try:
        return subprocess.run(  # noqa: S603 - the plugins that people name
            command, input=stdin, env=environment, capture_output=True, timeout=ANSWER_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"the CNI plugin {command[0]} did not answer within {ANSWER_S:g} s") from error
    except OSError as error:
        raise LabError(f"the CNI plugin {command[0]} cannot be run: {error.strerror}") from error
