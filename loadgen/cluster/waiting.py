"""Waits for pods, and says what they wait for: whenever that changes, in words."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from loadgen.cluster.apiserver import ApiServer, Manifest, pauses_s
from loadgen.cluster.words import is_hopeless, why_not_ready
from loadgen.errors import ClusterError

Say = Callable[[str], None]
JOB = "batch.kubernetes.io/job-name"
LAST_LINES = 12


def wait_for_pods(
    api: ApiServer,
    maker: Manifest,
    *,
    labels: str,
    count: int,
    until: Callable[[Mapping[str, Any]], bool],
    wait_s: float,
    say: Say,
) -> list[Manifest]:
    """Return the pods with these labels, which `maker` makes, once `until` holds for `count` of them.

    Raises ClusterError, which says why not, when `wait_s` are over or waiting is in vain.
    """
    namespace = maker["metadata"]["namespace"]
    what = f"{maker['kind']} {maker['metadata']['name']}"
    give_up_s = time.monotonic() + wait_s
    last = ""
    pauses = pauses_s()
    while True:
        pods = api.items("v1", "Pod", namespace, labels=labels)
        there = [pod for pod in pods if until(pod)]
        if len(there) >= count:
            return there
        waited_for = [pod for pod in pods if not until(pod)]
        why = why_not_ready(waited_for, api.items("v1", "Event", namespace), what)
        hopeless = next((pod for pod in waited_for if is_hopeless(pod)), None)
        if hopeless or time.monotonic() >= give_up_s:
            waited = "" if hopeless else f"after {wait_s:g} s "
            raise ClusterError(f"{waited}{namespace}/{what} is not ready: {why}{_log(api, hopeless)}")
        if why != last:
            say(f"waiting for {namespace}/{what}: {why}")
            last = why
        time.sleep(next(pauses))


def _log(api: ApiServer, pod: Manifest | None) -> str:
    """Return the last words of the container for which a pod is given up, on lines of their own."""
    if pod is None:
        return ""
    status = pod["status"]
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        ended = container["state"].get("terminated") or (container.get("lastState") or {}).get("terminated")
        if ended and ended["exitCode"]:
            name = pod["metadata"]["name"]
            words = api.log(pod["metadata"]["namespace"], name, container["name"], lines=LAST_LINES)
            return f"\nits log ends\n{words}"
    return ""


def has_started(pod: Mapping[str, Any]) -> bool:
    """Say whether all containers of a pod run or have run, and it has an address."""
    statuses = pod["status"].get("containerStatuses", ())
    started = bool(statuses) and all("waiting" not in status["state"] for status in statuses)
    return started and bool(pod["status"].get("podIP")) and "deletionTimestamp" not in pod["metadata"]


def has_succeeded(pod: Mapping[str, Any]) -> bool:
    """Say whether a pod has done what it was made for."""
    return bool(pod["status"].get("phase") == "Succeeded")


def job_labels(job: Manifest) -> str:
    """Return the selector of a Job's pods."""
    return f"{JOB}={job['metadata']['name']}"


def stop_jobs(api: ApiServer, jobs: list[Manifest], *, wait_s: float) -> None:
    """Delete Jobs, and return once none of their pods is there. Raises ClusterError."""
    for job in jobs:
        api.delete(job)
    give_up_s = time.monotonic() + wait_s
    for job in jobs:
        namespace = job["metadata"]["namespace"]
        pauses = pauses_s()
        while pods := api.items("v1", "Pod", namespace, labels=job_labels(job)):
            if time.monotonic() >= give_up_s:
                names = ", ".join(pod["metadata"]["name"] for pod in pods)
                raise ClusterError(
                    f"after {wait_s:g} s pods of a Job that was deleted are still there: {names}"
                )
            time.sleep(next(pauses))
