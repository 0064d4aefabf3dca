"""Plays a plan on a stage: locust's master and workers as Jobs, and the master's observations as they are
made.

The master's relay prints one line a block, and nothing else; its log is followed from its first line. A
connection that ends, in whatever way, is opened again, and what was read before is known by its place in the
plan: no block is taken twice, and one that is missing ends the run.
"""

import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path as File

import orjson

from loadgen.cluster.apiserver import ApiServer, Manifest, pauses_s
from loadgen.cluster.jobs import (
    LOCUST,
    MOST_PLAN_BYTES,
    RELAY,
    master_job,
    plan_config,
    worker_job,
)
from loadgen.cluster.stage import Stage
from loadgen.cluster.waiting import LAST_LINES, has_started, job_labels, stop_jobs, wait_for_pods
from loadgen.errors import ExperimentError, PlanError
from loadgen.observation import Observation
from loadgen.plan import Plan, write_plan

SILENCE_S = 60.0
"""How much longer than a block may take the log may be silent, until it is asked for again."""
PLAN = "plan.json"
LOCUST_LOG = "locust.log"


def play_on(stage: Stage, plan: Plan, folder: File, *, workers: int) -> Generator[Observation, None, None]:
    """Have locust play a plan on `stage`, and yield each block as it ends. Closing the generator ends locust.

    Raises ClusterError or ExperimentError; the pods are left to whoever takes the stage away then.
    """
    write_plan(plan, folder / PLAN)
    publish(stage, plan)
    attached = sorted({path.attach for path in plan.paths})
    main = stage.main.overlay
    hostname = stage.client_hostname
    jobs = [master_job(main, workers=workers * len(attached), hostname=hostname)]
    master = start(stage, jobs[0], 1)[0]
    for attach in attached:
        overlay = stage.actors[attach].overlay
        address = master["status"]["podIP"]
        job = worker_job(overlay, attach=attach, workers=workers, master=address, hostname=hostname)
        jobs.append(job)
        start(stage, job, workers)
    try:
        yield from follow_blocks(stage.api, plan, master)
    except GeneratorExit:
        _end(stage, jobs, master, folder)
        raise
    _end(stage, jobs, master, folder)


def _end(stage: Stage, jobs: list[Manifest], master: Manifest, folder: File) -> None:
    """Keep what locust said, and end it."""
    said = stage.api.log(stage.main.overlay.namespace, master["metadata"]["name"], LOCUST, lines=1000)
    with (folder / LOCUST_LOG).open("a", encoding="utf-8") as log:
        log.write(said + "\n")
    stop_jobs(stage.api, jobs, wait_s=stage.wait_s)


def publish(stage: Stage, plan: Plan) -> None:
    """Write a plan where the pods of both attachments read it. Raises PlanError."""
    text = orjson.dumps(asdict(plan)).decode()
    if len(text) > MOST_PLAN_BYTES:
        raise PlanError(f"a plan of {len(text):,} bytes is more than a cluster takes ({MOST_PLAN_BYTES:,})")
    for actor in stage.actors.values():
        stage.api.apply(plan_config(actor.overlay, text))


def start(stage: Stage, job: Manifest, count: int) -> list[Manifest]:
    """Make the pods of a Job, and return them once they run. Raises ClusterError."""
    stage.api.apply(job)
    return wait_for_pods(
        stage.api,
        job,
        labels=job_labels(job),
        count=count,
        until=has_started,
        wait_s=stage.wait_s,
        say=stage.say,
    )


def follow_blocks(api: ApiServer, plan: Plan, master: Manifest) -> Generator[Observation, None, None]:
    """Yield what the master's relay prints, block by block, to the end of the plan. Raises ExperimentError
    where the master ends before."""
    blocks_a_round = len(plan.paths) * len(plan.arms)
    blocks = blocks_a_round * plan.rounds
    silence_s = plan.block_s + plan.drain_s + SILENCE_S
    namespace, pod = master["metadata"]["namespace"], master["metadata"]["name"]
    done = 0
    pauses = pauses_s()
    while done < blocks:
        # Looked at before the log: what was written until then is in what is read after.
        ending = _ending(api, namespace, pod)
        before = done
        with closing(api.follow(namespace, pod, RELAY, silence_s=silence_s)) as lines:
            for line in lines:
                observation = _parsed(line)
                number = observation.round * blocks_a_round + observation.position
                if number > done:
                    raise ExperimentError(
                        f"the master's log goes on with block {number + 1} after block {done}: what was"
                        " between is lost"
                    )
                if number == done:
                    done += 1
                    yield observation
                if done == blocks:
                    return
        if done > before:
            pauses = pauses_s()
            continue
        if ending:
            words = api.log(namespace, pod, LOCUST, lines=LAST_LINES)
            raise ExperimentError(f"{ending} after {done} of {blocks} blocks; it said last:\n{words}")
        time.sleep(next(pauses))


def _parsed(line: bytes) -> Observation:
    try:
        return Observation.from_plain(orjson.loads(line))
    except (orjson.JSONDecodeError, LookupError, TypeError) as error:
        said = line[:300].decode(errors="replace")
        raise ExperimentError(f"the master's log has a line that is no observation: {said}") from error


def _ending(api: ApiServer, namespace: str, pod: str) -> str:
    """Say how locust's master ended; nothing while it goes on."""
    found = api.find("v1", "Pod", pod, namespace)
    if found is None:
        return f"the master's pod {pod} is gone"
    for status in found["status"].get("containerStatuses", ()):
        ended = status["state"].get("terminated")
        if status["name"] == LOCUST and ended:
            return f"locust's master ended with status {ended['exitCode']}"
    return f"the master's pod {pod} failed" if found["status"].get("phase") == "Failed" else ""
