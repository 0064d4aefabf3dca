"""Why pods are not ready yet, in words: from their conditions, their containers, and events. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Plain = Mapping[str, Any]

HOPELESS = {"InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "CrashLoopBackOff"}
"""What containers wait for in vain unless somebody changes something."""


def is_ready(pod: Plain) -> bool:
    """Say whether a pod is ready to serve, and not on its way out."""
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))
    return ready and "deletionTimestamp" not in pod["metadata"]


def is_hopeless(pod: Plain) -> bool:
    """Say whether waiting for a pod is in vain."""
    if pod["status"].get("phase") == "Failed":
        return True
    waiting = (status["state"].get("waiting") or {} for status in _containers(pod))
    return any(state.get("reason") in HOPELESS for state in waiting)


def why_not_ready(pods: Sequence[Plain], events: Iterable[Plain], maker: str) -> str:
    """Say why these pods are not ready. `maker` is what makes them: `Deployment fiveways`."""
    warnings = {}
    for event in sorted(events, key=_moment):
        if event.get("type") == "Warning":
            thing = event.get("involvedObject", {})
            warnings[thing.get("kind"), thing.get("name")] = event
    reasons = [reason for pod in pods for reason in _pod(pod, warnings)]
    if not pods:
        name = maker.partition(" ")[2]
        # Of the Deployment, of a ReplicaSet of it, whose name begins with its own, or of the Job.
        said = [e for (_, thing), e in warnings.items() if str(thing).startswith(name)]
        reasons = [f"{event['reason']}: {event['message']}" for event in said[-1:]]
        return f"{maker} has no pod yet" + "".join(f": {reason}" for reason in reasons)
    return "; ".join(reasons)


def _pod(pod: Plain, warnings: Mapping[tuple[Any, Any], Plain]) -> Iterator[str]:
    name, status = pod["metadata"]["name"], pod["status"]
    conditions = {condition["type"]: condition for condition in status.get("conditions", ())}
    scheduled = conditions.get("PodScheduled", {})
    if status.get("phase") == "Failed":
        words = ": ".join(filter(None, (status.get("reason"), status.get("message"))))
        yield f"pod {name} failed" + (f": {words}" if words else "")
        yield from filter(None, (_container(container) for container in _containers(pod)))
        return
    if scheduled.get("status") == "False":
        yield f"pod {name} has no node: {scheduled.get('message') or scheduled.get('reason')}"
        return
    said = [words for container in _containers(pod) if (words := _container(container))]
    event = warnings.get(("Pod", name))
    if event and not any(str(event["message"]) in words for words in said):
        said.append(f"{event['reason']}: {event['message']}")
    yield f"pod {name}: " + (", ".join(said) or str(status.get("phase", "not seen by its node yet")))


def _containers(pod: Plain) -> list[Plain]:
    status = pod["status"]
    return [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]


def _container(status: Plain) -> str:
    """Say what keeps a container from being ready; nothing where nothing does."""
    name, state = status["name"], status["state"]
    if waiting := state.get("waiting"):
        words = ": ".join(filter(None, (waiting.get("reason"), waiting.get("message"))))
        last = (status.get("lastState") or {}).get("terminated")
        ended = (
            f", it ended with {_ending(last)} and was started {status['restartCount']} times again"
            if last
            else ""
        )
        return f"{name} waits, {words}{ended}"
    if ended := state.get("terminated"):
        return f"{name} ended with {_ending(ended)}" if ended["exitCode"] else ""
    return "" if status.get("ready") else f"{name} runs and is not ready yet"


def _ending(terminated: Plain) -> str:
    reason = terminated.get("reason")
    return f"status {terminated['exitCode']}" + (
        f" ({reason})" if reason not in {None, "Error", "Completed"} else ""
    )


def _moment(event: Plain) -> str:
    return (
        event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
        or ""
    )
