import json
from typing import Any

import pytest

from loadgen.cluster.targets import NETWORK_STATUS, paths_of
from loadgen.errors import ClusterError
from loadgen.paths import Path

SERVICES: dict[str, Any] = {
    "fiveways": {"spec": {"clusterIP": "10.96.1.2"}},
    "fiveways-nodeport": {"spec": {"ports": [{"nodePort": 31234}]}},
}
TARGETS = {
    "podip": "http://{podIP}:8000",
    "clusterip": "http://{clusterIP}:8000",
    "headless": "http://fiveways-headless:8000",
    "nodeport": "http://{nodeIP}:{nodePort}",
}


def a_server(address: str = "10.244.2.7", networks: Any = None) -> dict[str, Any]:
    annotations = {} if networks is None else {NETWORK_STATUS: json.dumps(networks)}
    metadata = {"name": "fiveways-0", "annotations": annotations}
    return {"metadata": metadata, "status": {"podIP": address, "hostIP": "192.0.2.12"}}


def paths(targets: dict[str, str], server: Any, services: Any = SERVICES) -> tuple[Path, ...]:
    return paths_of("w", targets, attach="pod", server=server, services=services, client_address="192.0.2.11")


def test_every_target_is_a_path_of_its_way_for_clients_attached_alike() -> None:
    found = paths(TARGETS, a_server())
    assert {path.target: path.url for path in found} == {
        "podip": "http://10.244.2.7:8000",
        "clusterip": "http://10.96.1.2:8000",
        "headless": "http://fiveways-headless:8000",
        "nodeport": "http://192.0.2.11:31234",
    }
    assert {(path.way, path.attach, path.name) for path in found} == {
        ("w", "pod", f"w/{target}") for target in TARGETS
    }


def test_the_host_is_dialled_at_its_own_address() -> None:
    assert paths({"hostip": "http://{hostIP}:8000"}, a_server())[0].url == "http://192.0.2.12:8000"


def test_a_second_interface_is_the_one_called_net1() -> None:
    networks = [{"interface": "eth0", "ips": ["10.244.2.7"]}, {"interface": "net1", "ips": ["192.168.77.3"]}]
    assert paths({"net1ip": "http://{net1IP}:8000"}, a_server(networks=networks))[0].url == (
        "http://192.168.77.3:8000"
    )


@pytest.mark.parametrize(
    "networks", [None, [], [{"interface": "net1"}], [{"interface": "eth0", "ips": ["x"]}]]
)
def test_a_second_interface_that_is_not_there_is_multus_to_explain(networks: Any) -> None:
    with pytest.raises(ClusterError, match="fiveways-0 has no address on net1: Multus has not attached it"):
        paths({"net1ip": "http://{net1IP}:8000"}, a_server(networks=networks))


def test_ipv6_addresses_are_in_brackets() -> None:
    assert paths({"podip": "http://{podIP}:8000"}, a_server("fd00::7"))[0].url == "http://[fd00::7]:8000"


def test_a_name_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ClusterError, match=r"a name that nobody knows: \{moonIP\}"):
        paths({"moon": "http://{moonIP}:8000"}, a_server())
    with pytest.raises(ClusterError, match=r"nothing is known yet that \{nodePort\} of w stands for"):
        paths({"nodeport": "http://{nodeIP}:{nodePort}"}, a_server(), services={})
