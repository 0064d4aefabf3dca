import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import missing
from sandboxed import PATIENCE_S, TRAFFIC, in_sandbox, require_sandbox, run_as_nobody, run_in_sandbox

from loadgen.keeper import mount_namespace
from loadgen.paths import Path as LabPath
from loadgen.topology import DEFAULT_PATHS, PLUGINS, PORT, SHAPED, WAYS, absences, path_names, split_name

SENT_BYTES = 600_000
MTU, VXLAN_MTU = 1400, 1350
OTHER_SERVICES = 50
RATE_BPS = 20_000_000
CNI_BIN = Path("/usr/lib/cni")
"""Where Debian's containernetworking-plugins are."""
SHAPED_BPS = {"host/hostip": RATE_BPS, "vxlan/clusterip": RATE_BPS}
SETTINGS = {
    "paths": path_names(),
    "mtu": MTU,
    "line_rate_bps": 2_000_000_000,
    "other_services": OTHER_SERVICES,
    "shaped_bps": SHAPED_BPS,
}
PATHS = (*path_names(), *(name + SHAPED for name in SHAPED_BPS))

CLIENTS = {
    "host/hostip": "172.18.0.10",
    "host/clusterip": "172.18.0.10",
    "host/clusterip-iptables": "172.18.0.12",
    "host/nodeport": "172.18.0.10",
    "host/nodeport-iptables": "172.18.0.12",
    "bridge/podip": "10.244.16.10",
    "bridge/clusterip": "10.244.16.10",
    "bridge/clusterip-iptables": "10.244.18.10",
    "bridge/nodeport": "10.244.16.1",
    "bridge/nodeport-iptables": "10.244.18.1",
    "routed/podip": "10.244.32.10",
    "routed/clusterip": "10.244.32.10",
    "routed/clusterip-iptables": "10.244.34.10",
    "routed/nodeport": "172.18.0.10",
    "routed/nodeport-iptables": "172.18.0.12",
    "vxlan/podip": "10.244.48.10",
    "vxlan/clusterip": "10.244.48.10",
    "vxlan/clusterip-iptables": "10.244.50.10",
    "vxlan/nodeport": "10.244.48.0",
    "vxlan/nodeport-iptables": "10.244.50.0",
    "macvlan/net1ip": "192.168.77.16",
    "host/hostip" + SHAPED: "172.18.0.13",
    "vxlan/clusterip" + SHAPED: "10.244.48.11",
}
"""Whom the server sees: the client itself; for NodePorts its node, as it is known where the server is."""


@pytest.fixture(autouse=True, scope="module")
def _sandbox() -> None:
    require_sandbox()


@pytest.fixture(scope="module")
def traffic() -> dict[str, Any]:
    """What was seen when something was sent over every path that a lab may have."""
    done = run_in_sandbox(sys.executable, TRAFFIC, json.dumps(SETTINGS))
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def facts(traffic: dict[str, Any]) -> dict[tuple[str, str], str]:
    """Values by path and name."""
    return {(fact["path"], fact["name"]): fact["value"] for fact in traffic["facts"]}


def test_the_paths_are_those_asked_for_in_their_order(traffic: dict[str, Any]) -> None:
    paths = [LabPath(**plain) for plain in traffic["paths"]]
    assert tuple(path.name for path in paths) == PATHS
    assert all((path.way, path.target) == split_name(path.name.removesuffix(SHAPED)) for path in paths)


@pytest.mark.parametrize("name", PATHS)
def test_what_is_sent_arrives_from_whom_kubernetes_would_show(name: str, traffic: dict[str, Any]) -> None:
    seen = traffic["seen"][name]
    assert (seen["received"], seen["peer"]) == (SENT_BYTES, CLIENTS[name])


@pytest.mark.parametrize("name", [name for name in PATHS if "clusterip" in name or "nodeport" in name])
def test_services_are_rewritten_on_their_way(name: str, traffic: dict[str, Any]) -> None:
    (path,) = (LabPath(**plain) for plain in traffic["paths"] if plain["name"] == name)
    dialled = path.url.removeprefix("http://").split(":")[0]
    assert traffic["seen"][name]["at"] != dialled
    if path.target.startswith("clusterip"):
        assert not [stack for stack, addresses in traffic["addresses"].items() if dialled in addresses]


@pytest.mark.parametrize("name", PATHS)
def test_only_vxlan_crosses_the_underlay_encapsulated_and_a_bridge_does_not_cross_it(
    name: str, traffic: dict[str, Any]
) -> None:
    bulk = traffic["seen"][name]["bulk"]
    way, _ = split_name(name.removesuffix(SHAPED))
    assert (bulk["vxlan"] > 0, bulk["plain"] > 0) == (way == "vxlan", way in {"host", "routed", "macvlan"})


@pytest.mark.parametrize("name", PATHS)
def test_the_mtu_is_what_is_left_of_the_underlays(
    name: str, traffic: dict[str, Any], facts: dict[tuple[str, str], str]
) -> None:
    left = VXLAN_MTU if name.startswith("vxlan/") else MTU
    assert facts[name, "MTU"] == f"{left} bytes"
    # To a NodePort of its own, a host's connection begins on the loopback.
    if not name.startswith("host/nodeport"):
        assert traffic["seen"][name]["mtu"] == left


def test_one_socket_listens_in_every_namespace_that_serves(traffic: dict[str, Any]) -> None:
    # host, routed, vxlan and macvlan on node-b; bridge on both nodes of clients.
    assert [port for _, port in traffic["listeners"]] == [PORT] * 6


def test_facts_tell_the_mechanisms_apart(facts: dict[tuple[str, str], str]) -> None:
    assert {way: facts[way, "client NIC"] for way in DEFAULT_PATHS} == {
        name: "macvlan" if name.startswith("macvlan") else "veth" for name in DEFAULT_PATHS
    }
    assert {name for name, fact in facts if (fact, facts[name, fact]) == ("encapsulation", "none")} == {
        name for name in PATHS if not name.startswith("vxlan/")
    }
    assert facts["vxlan/podip", "encapsulation"] == "VXLAN 1, UDP port 4789"
    assert facts["vxlan/podip", "NAT"] == "none"
    assert facts["vxlan/clusterip", "NAT"] == "DNAT, kube-proxy's nftables form"
    assert facts["host/nodeport-iptables", "NAT"] == "DNAT, kube-proxy's iptables form"


@pytest.mark.parametrize("name", ["vxlan/clusterip", "vxlan/clusterip-iptables"])
def test_both_forms_know_the_other_services_and_one_for_every_way_but_macvlan(
    name: str, facts: dict[tuple[str, str], str]
) -> None:
    assert int(facts[name, "Services in the tables"]) == OTHER_SERVICES + len(WAYS) - 1


def test_rates_are_as_asked_for(facts: dict[tuple[str, str], str]) -> None:
    assert {facts[name, "node queue"] for name in path_names()} == {"tbf, 2000 Mbit/s"}
    assert facts["vxlan/clusterip", "client queue"] == "noqueue"
    assert {facts[name + SHAPED, "client queue"] for name in SHAPED_BPS} == {"tbf, 20 Mbit/s"}


def test_a_shaped_client_is_held_back(traffic: dict[str, Any]) -> None:
    assert set(traffic["held_back"]) == {name + SHAPED for name in SHAPED_BPS}
    assert min(traffic["held_back"].values()) > 0


def test_what_is_no_path_is_listed_with_the_reason(traffic: dict[str, Any]) -> None:
    assert [absence["name"] for absence in traffic["absent"]] == [absence.name for absence in absences()]


@pytest.fixture(scope="module")
def plugged() -> dict[str, Any]:
    """What was seen when the CNI project's own plugins plugged the pods."""
    if not all((CNI_BIN / plugin).exists() for plugin in (*PLUGINS.values(), "host-local")):
        missing(f"the CNI plugins in {CNI_BIN}")
    settings = {**SETTINGS, "cni_bin": str(CNI_BIN)}
    done = run_in_sandbox(sys.executable, TRAFFIC, json.dumps(settings))
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_pods_plugged_by_the_cni_projects_plugins_are_where_ours_are(
    plugged: dict[str, Any], traffic: dict[str, Any]
) -> None:
    assert {name: (seen["received"], seen["peer"]) for name, seen in plugged["seen"].items()} == {
        name: (SENT_BYTES, CLIENTS[name]) for name in PATHS
    }
    ours, theirs = (
        {(f["path"], f["name"]): f["value"] for f in seen["facts"] if f["path"]}
        for seen in (traffic, plugged)
    )
    assert theirs == ours


def test_the_plugins_that_plugged_are_told_as_facts(plugged: dict[str, Any]) -> None:
    facts = {fact["name"]: fact["value"] for fact in plugged["facts"] if fact["path"] is None}
    names = ("bridge", "host-local", "macvlan", "ptp")
    assert sorted(facts) == [f"CNI plugin {name}" for name in names]
    assert all(re.fullmatch(r".+; SHA-256 [0-9a-f]{16}", value) for value in facts.values())


REFUSING = """\
#!/bin/sh
if [ "$CNI_COMMAND" = VERSION ]; then
  echo '{"cniVersion": "1.0.0", "supportedVersions": ["1.0.0"]}'
else
  cat > "$(dirname "$0")/asked-$CNI_COMMAND-$CNI_IFNAME"
  echo '{"code": 11, "msg": "no room", "details": "try later"}'
  exit 1
fi
"""
ANCIENT = """\
#!/bin/sh
echo '{"cniVersion": "0.2.0", "supportedVersions": ["0.1.0", "0.2.0"]}'
"""
TRY = """
import sys
from loadgen.errors import LabError
from loadgen.lab import Lab
from loadgen.topology import LabSettings
try:
    with Lab(LabSettings(paths=("routed/podip",), cni_bin=sys.argv[1])):
        print("built")
except LabError as error:
    print(error)
"""


def with_plugins(folder: Path, script: str, *names: str) -> str:
    """What a lab says whose plugins of these names are all this script."""
    for name in names:
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    done = run_in_sandbox(sys.executable, "-c", TRY, folder)
    return done.stdout.strip() or done.stderr


def test_what_a_plugin_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    said = with_plugins(tmp_path, REFUSING, "ptp", "host-local")
    assert said == f"the CNI plugin {tmp_path}/ptp does not do it: no room try later"
    asked = json.loads((tmp_path / "asked-ADD-eth0").read_text())
    assert (asked["cniVersion"], asked["type"], asked["mtu"]) == ("1.0.0", "ptp", 1500)
    ipam = asked["ipam"]
    assert ipam["ranges"] == [
        [{"subnet": "10.244.32.0/24", "rangeStart": "10.244.32.10", "gateway": "10.244.32.1"}]
    ]
    assert not Path(ipam["dataDir"]).exists()


@pytest.mark.parametrize(
    ("script", "names", "said"),
    [
        (
            ANCIENT,
            ("ptp", "host-local"),
            "knows the specification in 0.1.0, 0.2.0, and must know it in one of",
        ),
        ("#!/bin/sh\necho yes\n", ("ptp", "host-local"), "does not do it: it answers with no JSON"),
        ("#!/bin/sh\n", ("bridge",), "has no CNI plugin ptp, host-local; it has bridge. On Debian"),
        ("not a program", ("ptp", "host-local"), "ptp cannot be run: Exec format error"),
    ],
)
def test_plugins_that_cannot_plug_are_one_error(
    script: str, names: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    assert said in with_plugins(tmp_path, script, *names)


def test_an_ordinary_user_can_have_the_default_lab() -> None:
    done = run_as_nobody(sys.executable, TRAFFIC, json.dumps({"paths": DEFAULT_PATHS}))
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)["seen"]
    assert {name: answer["peer"] for name, answer in seen.items()} == {
        name: CLIENTS[name] for name in DEFAULT_PATHS
    }


HOLD = """
import json, os, signal, subprocess, sys
from pathlib import Path
from loadgen.lab import Lab
from loadgen.topology import LabSettings

with Lab(LabSettings()) as lab:
    served = [listener.fileno() for listener in lab.listeners]
    server = subprocess.Popen(["sleep", "600"], pass_fds=served, start_new_session=True)
    held = [str(Path(path.netns).readlink()) for path in lab.paths]
    print(json.dumps([str(Path("/proc/self/ns/mnt").readlink()), held]), flush=True)
    signal.pause()
"""


def machine() -> tuple[object, ...]:
    """Return the links, mounts and named namespaces that a test's process sees."""
    named = sorted(Path("/run/netns").glob("*"))
    return socket.if_nameindex(), Path("/proc/self/mounts").read_text(), named


def users_of(namespaces: set[str]) -> list[str]:
    """Return the processes that live in one of these namespaces or have one open."""
    users = []
    for process in Path("/proc").glob("[0-9]*"):
        for link in (*process.glob("ns/*"), *process.glob("fd/*")):
            try:
                if str(link.readlink()) in namespaces:
                    users.append(str(link))
            except OSError:
                continue
    return users


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_of_a_lab_survives_its_process(end: signal.Signals) -> None:
    before = machine()
    with subprocess.Popen(
        in_sandbox(sys.executable, "-c", HOLD), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        mounts, held = json.loads(process.stdout.readline())
        assert mount_namespace(process.pid) == mounts
        process.send_signal(end)
        process.wait(PATIENCE_S)
    deadline = time.monotonic() + PATIENCE_S
    while users := users_of({mounts, *held}):
        assert time.monotonic() < deadline, users
        time.sleep(0.01)
    assert machine() == before


FAIL = """
import os
from pathlib import Path
from loadgen.errors import LabError
from loadgen.lab import Lab
from loadgen.topology import LabSettings

def state():
    return Path("/proc/self/ns/net").readlink(), len(os.listdir("/proc/self/fd"))

with Lab(LabSettings(paths=("host/hostip",))):
    pass
before = state()
limit = Path("/proc/sys/user/max_net_namespaces")
limit.write_text("6")
try:
    with Lab(LabSettings()):
        print("built")
except LabError as error:
    print(error)
print(state() == before)
"""


def test_a_lab_that_cannot_be_finished_is_one_error_and_leaves_nothing() -> None:
    done = run_in_sandbox(sys.executable, "-c", FAIL)
    assert done.stdout.splitlines() == [
        "the lab cannot be built on this machine: [Errno 28] unshare: No space left on device",
        "True",
    ], done.stderr


WITHOUT = """
from loadgen.lab import Lab
from loadgen.stack import Stack
from loadgen.topology import LabSettings

def add_macvlan(stack, parent, into, link, *, mtu):
    stack.kernel.link("add", ifname=link, kind="nosuchkind")

Stack.add_macvlan = add_macvlan
paths = "host/hostip", "macvlan/net1ip", "routed/podip"
with Lab(LabSettings(paths=paths, shaped_bps={"macvlan/net1ip": 10**7})) as lab:
    print(*(path.name for path in lab.paths), len(lab.listeners))
    print(*(f"{a.name}: {a.reason}" for a in lab.absent if "construction" not in a.reason), sep="\\n")
"""


def test_what_this_kernel_lacks_is_listed_and_the_other_paths_are_there() -> None:
    done = run_in_sandbox(sys.executable, "-c", WITHOUT)
    assert done.stdout.splitlines() == [
        "host/hostip routed/podip 2",
        "macvlan/net1ip: this kernel has no macvlan; type: sudo modprobe macvlan",
        "macvlan/net1ip/shaped: this kernel has no macvlan; type: sudo modprobe macvlan",
    ], done.stderr
