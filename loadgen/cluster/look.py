"""Looks at a stage before anything is measured: what its network is made of, and whether all paths can be
dialled.

Probes run in pods of both attachments on the clients' node, and on the servers'; the rest is read from the
API server and made facts of by the detectors.
"""

from collections.abc import Iterator

from loadgen.cluster.cni import detect_cni
from loadgen.cluster.encapsulation import detect_encapsulation
from loadgen.cluster.inventory import Inventory, take_inventory
from loadgen.cluster.jobs import LOCUST, PLAN_FOLDER, PLAN_KEY, probe_job
from loadgen.cluster.node_status import detect_node_status
from loadgen.cluster.nodes import address_of, hostname_of
from loadgen.cluster.play import publish
from loadgen.cluster.probe import Seen
from loadgen.cluster.service_path import detect_service_path
from loadgen.cluster.stage import Stage
from loadgen.cluster.waiting import LAST_LINES, has_succeeded, job_labels, stop_jobs, wait_for_pods
from loadgen.errors import ClusterError
from loadgen.facts import Fact, version_facts
from loadgen.plan import Plan

HOST = "host"
JUDGES = ("scipy",)


def facts_of(stage: Stage, plan: Plan) -> tuple[Fact, ...]:
    """Return the facts of the cluster, its nodes and its paths. Raises ClusterError, also where a path of
    `plan` cannot be dialled."""
    publish(stage, plan)
    seen = list(_probed(stage))
    problems = [problem for probe in seen for problem in probe.problems]
    if problems:
        raise ClusterError(
            "nothing is measured, because not all paths can be dialled: " + "; ".join(problems)
        )
    inventory, denied = take_inventory(
        stage.api,
        client_node=stage.client_node,
        server_node=stage.server_node,
        server_pod=stage.main.server,
    )
    for words in denied:
        stage.say(f"not read, so that facts are missing: {words}")
    facts = [Fact("Kubernetes", stage.api.version(), "GET /version"), *detected(inventory)]
    # This machine judges what others measure.
    facts += version_facts(JUDGES)
    facts += [fact for probe in seen for fact in probe.facts]
    return tuple(dict.fromkeys(facts))


def detected(inventory: Inventory) -> Iterator[Fact]:
    """Yield what all detectors find."""
    for detect in (detect_cni, detect_encapsulation, detect_service_path, detect_node_status):
        yield from detect(inventory)


def _probed(stage: Stage) -> Iterator[Seen]:
    """Run the probes one after the other: they are small, and nodes may be full."""
    plan = ("--plan", f"{PLAN_FOLDER}/{PLAN_KEY}")
    pod = stage.main.server["status"]["podIP"] if stage.main.attach != HOST else ""
    client, server = stage.client_node, stage.server_node
    for attach in stage.actors:
        arguments = ["--end", "client", *plan, "--attach", attach, "--node", address_of(client)]
        if attach == HOST:
            arguments += ["--peer", address_of(server), *(("--pod", pod) if pod else ())]
        yield _run(stage, attach, "client", hostname_of(client), arguments)
    if HOST in stage.actors:
        arguments = ["--end", "server", *plan, "--peer", address_of(client)]
        yield _run(stage, HOST, "server", hostname_of(server), arguments)


def _run(stage: Stage, attach: str, end: str, hostname: str, arguments: list[str]) -> Seen:
    job = probe_job(stage.actors[attach].overlay, hostname=hostname, end=end, arguments=arguments)
    stage.api.apply(job)
    pods = wait_for_pods(
        stage.api,
        job,
        labels=job_labels(job),
        count=1,
        until=has_succeeded,
        wait_s=stage.wait_s,
        say=stage.say,
    )
    said = stage.api.log(job["metadata"]["namespace"], pods[0]["metadata"]["name"], LOCUST, lines=LAST_LINES)
    stop_jobs(stage.api, [job], wait_s=stage.wait_s)
    try:
        # Libraries may have had something to say, too.
        (line,) = (line for line in said.splitlines() if line.startswith("{"))
        return Seen.from_json(line)
    except (ValueError, LookupError, TypeError) as error:
        raise ClusterError(f"the probe attached by {attach} said what is no answer: {said[:300]}") from error
