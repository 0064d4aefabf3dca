"""The master's log is followed to the end of the plan, whatever becomes of the connection."""

from collections.abc import Iterator
from pathlib import Path

import kube_api
import pytest
from kube_api import KubeApi, Plain, running
from measured import CONTROL, HOST, an_observation

from loadgen.cluster.apiserver import ApiServer
from loadgen.cluster.jobs import LOCUST, RELAY
from loadgen.cluster.play import follow_blocks
from loadgen.errors import ClusterError, ExperimentError
from loadgen.observation import Observation
from loadgen.plan import Plan

PLAN = Plan(paths=(HOST, CONTROL), rounds=3, arms=("null",), block_s=0.2, settle_s=0.1, drain_s=0.1)
BLOCKS = tuple(PLAN.blocks())
MASTER: Plain = {"metadata": {"name": "master", "namespace": "n"}, "spec": {"containers": []}, "status": {}}


def a_line(number: int) -> bytes:
    return an_observation(BLOCKS[number]).to_json().rstrip(b"\n")


def ended(status: int) -> Plain:
    return {"name": LOCUST, "ready": False, "state": {"terminated": {"exitCode": status}}}


@pytest.fixture
def api() -> Iterator[KubeApi]:
    with kube_api.serving() as api:
        pod = {**MASTER, "status": running()}
        api.add("pods", pod)
        yield api


@pytest.fixture
def server(api: KubeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(tmp_path)))
    with ApiServer(None, patience_s=0.2) as server:
        yield server


def places(observations: Iterator[Observation]) -> list[int]:
    return [observation.round * 2 + observation.position for observation in observations]


def test_every_block_comes_once_and_in_order_wherever_the_log_is_cut(api: KubeApi, server: ApiServer) -> None:
    api.cut_logs_after = 1
    api.write(MASTER, RELAY, *map(a_line, range(6)))
    assert places(follow_blocks(server, PLAN, MASTER)) == [0, 1, 2, 3, 4, 5]


def test_a_block_that_was_lost_with_a_rotated_log_ends_the_run(api: KubeApi, server: ApiServer) -> None:
    api.write(MASTER, RELAY, a_line(0), a_line(2))
    with pytest.raises(ExperimentError, match="goes on with block 3 after block 1: what was between is lost"):
        list(follow_blocks(server, PLAN, MASTER))


def test_a_log_that_begins_again_is_read_on_from_where_it_was(api: KubeApi, server: ApiServer) -> None:
    # A relay that was started again prints the whole file.
    api.write(MASTER, RELAY, *map(a_line, (0, 1, 2, 0, 1, 2, 3, 4, 5)))
    assert places(follow_blocks(server, PLAN, MASTER)) == [0, 1, 2, 3, 4, 5]


def test_a_master_that_ends_early_is_told_with_its_last_words(api: KubeApi, server: ApiServer) -> None:
    api.write(MASTER, RELAY, a_line(0), ended=True)
    api.write(MASTER, LOCUST, b"no such read", ended=True)
    api.set_status(api.objects["pods", "n", "master"], containerStatuses=[ended(2)])
    with pytest.raises(ExperimentError) as told:
        list(follow_blocks(server, PLAN, MASTER))
    assert (
        str(told.value)
        == "locust's master ended with status 2 after 1 of 6 blocks; it said last:\nno such read"
    )


def test_a_pod_that_is_gone_ends_the_run(api: KubeApi, server: ApiServer) -> None:
    del api.objects["pods", "n", "master"]
    with pytest.raises((ExperimentError, ClusterError), match=r"gone|404"):
        list(follow_blocks(server, PLAN, MASTER))


def test_a_line_that_is_no_observation_is_shown(api: KubeApi, server: ApiServer) -> None:
    api.write(MASTER, RELAY, b"python: No module named loadgen.cluster")
    with pytest.raises(ExperimentError, match=r"No module named loadgen\.cluster"):
        list(follow_blocks(server, PLAN, MASTER))
