from typing import Any

import pytest

from loadgen.cluster.words import is_hopeless, is_ready, why_not_ready

MAKER = "Deployment fiveways"


def a_pod(status: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "fiveways-7d9-x2x"}, "status": {"phase": "Pending", **status}}


def a_container(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "service", "ready": False, "restartCount": 0, "state": state, **more}


def a_warning(
    kind: str, name: str, reason: str, message: str, at: str = "2026-11-24T12:00:00Z"
) -> dict[str, Any]:
    return {
        "type": "Warning",
        "reason": reason,
        "message": message,
        "lastTimestamp": at,
        "metadata": {},
        "involvedObject": {"kind": kind, "name": name},
    }


def test_a_pod_without_a_node_says_what_the_scheduler_says() -> None:
    message = (
        "0/3 nodes are available: 1 Insufficient memory, 2 node(s) didn't match Pod's node affinity/selector."
    )
    pod = a_pod({"conditions": [{"type": "PodScheduled", "status": "False", "message": message}]})
    assert why_not_ready([pod], [], MAKER) == f"pod fiveways-7d9-x2x has no node: {message}"
    assert not is_hopeless(pod)


def test_an_image_that_cannot_be_pulled_says_which() -> None:
    waiting = {
        "waiting": {
            "reason": "ImagePullBackOff",
            "message": 'Back-off pulling image "fiveways-service:0.1.0"',
        }
    }
    pod = a_pod({"containerStatuses": [a_container(waiting)]})
    assert why_not_ready([pod], [], MAKER) == (
        "pod fiveways-7d9-x2x: service waits, ImagePullBackOff: "
        'Back-off pulling image "fiveways-service:0.1.0"'
    )
    # A registry may come back.
    assert not is_hopeless(pod)


def test_a_container_that_crashes_again_and_again_is_given_up_with_how_it_ended() -> None:
    last = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    waiting = {
        "waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}
    }
    pod = a_pod({"containerStatuses": [a_container(waiting, lastState=last, restartCount=3)]})
    assert is_hopeless(pod)
    why = why_not_ready([pod], [], MAKER)
    assert why.endswith("it ended with status 137 (OOMKilled) and was started 3 times again")


def test_a_probe_that_fails_is_told_by_its_event() -> None:
    pod = a_pod({"phase": "Running", "containerStatuses": [a_container({"running": {}})]})
    failed = a_warning(
        "Pod", "fiveways-7d9-x2x", "Unhealthy", "Startup probe failed: HTTP probe failed with 503"
    )
    older = a_warning("Pod", "fiveways-7d9-x2x", "FailedMount", "not yet", at="2026-11-24T11:00:00Z")
    assert why_not_ready([pod], [failed, older], MAKER) == (
        "pod fiveways-7d9-x2x: service runs and is not ready yet,"
        " Unhealthy: Startup probe failed: HTTP probe failed with 503"
    )


def test_a_pod_that_may_not_be_made_is_told_by_the_event_of_who_makes_it() -> None:
    message = 'pods "fiveways-7d9" is forbidden: violates PodSecurity "restricted:latest": host namespaces'
    forbidden = a_warning("ReplicaSet", "fiveways-7d9", "FailedCreate", message)
    other = a_warning("Job", "somebody-elses", "FailedCreate", "no matter")
    assert why_not_ready([], [forbidden, other], MAKER) == f"{MAKER} has no pod yet: FailedCreate: {message}"
    assert why_not_ready([], [], MAKER) == f"{MAKER} has no pod yet"


def test_a_pod_that_failed_is_hopeless_and_says_so() -> None:
    pod = a_pod({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."})
    assert is_hopeless(pod)
    why = why_not_ready([pod], [], "Job fiveways-master")
    assert why == "pod fiveways-7d9-x2x failed: Evicted: The node was low on resource: memory."


@pytest.mark.parametrize(("status", "going", "ready"), [("True", {}, True), ("False", {}, False)])
def test_a_pod_is_ready_by_its_condition(status: str, going: dict[str, str], ready: bool) -> None:
    pod = a_pod({"conditions": [{"type": "Ready", "status": status}]})
    assert is_ready(pod) == ready
    pod["metadata"]["deletionTimestamp"] = "2026-11-24T12:00:00Z"
    assert not is_ready(pod)
