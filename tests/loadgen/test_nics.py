"""By which NIC a typed path leaves the machine is read from the system."""

import psutil

from loadgen.nics import nic_facts
from loadgen.paths import Path


def a_path(url: str) -> Path:
    return Path("svc", "", "", url)


def test_a_path_to_this_machine_leaves_by_its_loopback() -> None:
    facts = {fact.name: fact for fact in nic_facts(a_path("http://127.0.0.1:8000"))}
    assert facts["client NIC"].value == "lo"
    assert facts["client NIC"].source == "route to 127.0.0.1, address 127.0.0.1"
    assert facts["MTU"].value == f"{psutil.net_if_stats()['lo'].mtu} bytes"
    assert {fact.path for fact in facts.values()} == {"svc"}
    # A loopback has no speed.
    assert "NIC speed" not in facts


def test_of_a_host_that_nobody_knows_nothing_is_said() -> None:
    assert list(nic_facts(a_path("http://no-such-host.invalid:8000"))) == []
