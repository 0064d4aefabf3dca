"""The Jobs of one play: locust's master with a plan, its workers at both attachments, and probes. Pure.

They are the overlays' own Jobs, which wait there for somebody who tells them what to do: pods as each way
attaches them, pinned to the clients' node.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from loadgen.cluster.apiserver import Manifest
from loadgen.cluster.overlay import Overlay, pinned

MASTER, WORKER, PROBE = "fiveways-master", "fiveways-worker", "fiveways-probe"
PLAN = "fiveways-plan"
"""The ConfigMap that holds the plan."""
PLAN_KEY = "plan.json"
PLAN_FOLDER = "/plan"
OBSERVATIONS = "/tmp/observations.jsonl"  # noqa: S108 - the container's own
LOCUST, RELAY = "locust", "observations"
"""Containers of the master's pod."""
MOST_PLAN_BYTES = 900_000
"""An API server takes no object above 1 MiB."""
WORKERS_COME_S = 300


def plan_config(overlay: Overlay, plan: str) -> Manifest:
    """Return the ConfigMap with the plan, as JSON."""
    job = overlay.one("Job", MASTER)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": PLAN, "namespace": overlay.namespace, "labels": job["metadata"]["labels"]},
        "data": {PLAN_KEY: plan},
    }


def master_job(overlay: Overlay, *, workers: int, hostname: str) -> Manifest:
    """Return the Job of a master that plays the plan once `workers` are there, with its relay beside it."""
    job = _told(
        overlay.one("Job", MASTER),
        hostname,
        [
            *("--master", "--headless", "--only-summary", "--plan", f"{PLAN_FOLDER}/{PLAN_KEY}"),
            *("--observations", OBSERVATIONS),
            *("--expect-workers", str(workers), "--expect-workers-max-wait", str(WORKERS_COME_S)),
        ],
    )
    pod = job["spec"]["template"]["spec"]
    locust = _with_plan(pod)
    pod["initContainers"] = [
        {
            "name": RELAY,
            "image": locust["image"],
            "command": ["python", "-m", "loadgen.cluster.relay", OBSERVATIONS],
            # What makes it a sidecar: it lives as long as locust does, and is told to end after it.
            "restartPolicy": "Always",
            "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
            "securityContext": deepcopy(locust["securityContext"]),
            "volumeMounts": [mount for mount in locust["volumeMounts"] if mount["name"] == "tmp"],
        }
    ]
    return job


def worker_job(overlay: Overlay, *, attach: str, workers: int, master: str, hostname: str) -> Manifest:
    """Return the Job of `workers` that work for the master at this address, labelled with how they are
    attached."""
    arguments = ["--worker", "--master-host", master, "--attach", attach]
    job = _told(overlay.one("Job", WORKER), hostname, arguments)
    job["spec"]["parallelism"] = job["spec"]["completions"] = workers
    return job


def probe_job(overlay: Overlay, *, hostname: str, end: str, arguments: Sequence[str]) -> Manifest:
    """Return the Job that looks at a node, and at paths, from a pod that is attached as the overlay's are."""
    job = _told(overlay.one("Job", WORKER), hostname, arguments)
    job["metadata"]["name"] = f"{PROBE}-{end}"
    job["spec"]["parallelism"] = job["spec"]["completions"] = 1
    name = "app.kubernetes.io/name"
    for labels in (job["metadata"]["labels"], job["spec"]["template"]["metadata"]["labels"]):
        labels[name] = PROBE
    pod = job["spec"]["template"]["spec"]
    # It looks at the servers' node, too.
    pod.pop("affinity", None)
    probe = _with_plan(pod)
    probe["command"] = ["python", "-m", "loadgen.cluster.probe"]
    probe["resources"] = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}}
    for resource, amount in _devices(overlay.one("Job", WORKER)).items():
        probe["resources"]["limits"][resource] = amount
    return job


def _devices(job: Manifest) -> dict[str, str]:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    limits: dict[str, str] = container["resources"].get("limits", {})
    return {resource: amount for resource, amount in limits.items() if "/" in resource}


def _told(job: Manifest, hostname: str, arguments: Sequence[str]) -> Manifest:
    """Return a Job that waits no longer, and does what its arguments say and nothing that the overlay's
    settings do."""
    told = pinned(job, hostname)
    told["spec"]["suspend"] = False
    (container,) = told["spec"]["template"]["spec"]["containers"]
    container["args"] = list(arguments)
    container.pop("env", None)
    container.pop("envFrom", None)
    return told


def _with_plan(pod: dict[str, Any]) -> dict[str, Any]:
    """Mount the plan into the container of a pod, and return that."""
    container: dict[str, Any]
    (container,) = pod["containers"]
    pod.setdefault("volumes", []).append({"name": "plan", "configMap": {"name": PLAN}})
    container.setdefault("volumeMounts", []).append(
        {"name": "plan", "mountPath": PLAN_FOLDER, "readOnly": True}
    )
    return container
