"""A kubelet for tests: what the pods of a run do, as real processes on this machine.

A Deployment's pod is ready at once: the service is somebody else's, on loopback. A Job's pod runs its own
command: locust as a master or as a worker, the relay beside the master, or a probe."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from kube_api import KubeApi, Plain, running

LOCUSTFILE = Path(__file__).parents[1] / "loadgen/basecall.py"
PLAN_FOLDER, OBSERVATIONS = "/plan", "/tmp/observations.jsonl"  # noqa: S108 - those of the containers
END_S = 30.0
QUIET_PORTS = range(20000, 30000)
"""Below those that Linux takes for connections (net.ipv4.ip_local_port_range)."""


class Kubelet:
    """Runs pods. A context manager: what still runs in the end is killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: dict[str, list[subprocess.Popen[bytes]]] = {}
        self._lock = threading.Lock()
        port = str(quiet_port())
        self._environment = {**os.environ, "LOCUST_MASTER_BIND_PORT": port, "LOCUST_MASTER_NODE_PORT": port}

    def __enter__(self) -> "Kubelet":
        return self

    def __exit__(self, *_: object) -> None:
        for processes in self._processes.values():
            for process in processes:
                if process.poll() is None:
                    process.kill()
                process.wait()

    @property
    def running(self) -> int:
        """How many processes of pods run."""
        with self._lock:
            return sum(process.poll() is None for of_pod in self._processes.values() for process in of_pod)

    def run(self, api: KubeApi, pod: Plain) -> None:
        """Run a new pod to its end."""
        if pod["metadata"]["owner"][0] == "Deployment":
            api.set_status(pod, **running(containerStatuses=[_status("service", {"running": {}})]))
            return
        (container,) = pod["spec"]["containers"]
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        for volume in pod["spec"]["volumes"]:
            if "configMap" in volume:
                name, namespace = volume["configMap"]["name"], pod["metadata"]["namespace"]
                for file, text in api.objects["configmaps", namespace, name]["data"].items():
                    (folder / file).write_text(text)
        relayed = bool(pod["spec"].get("initContainers"))
        log = folder / "log"
        with log.open("wb") as output:
            process = self._start(pod, self._command(container, folder), stdout=output, stderr=output)
            if relayed:
                relay = self._start(
                    pod, self._command(pod["spec"]["initContainers"][0], folder), stdout=subprocess.PIPE
                )
                threading.Thread(target=_copy, args=(api, pod, relay), daemon=True).start()
            api.set_status(pod, **running(containerStatuses=[_status("locust", {"running": {}})]))
            status = process.wait()
        api.write(pod, "locust", *log.read_bytes().splitlines(), ended=True)
        if relayed:
            relay.send_signal(signal.SIGTERM)
            relay.wait(END_S)
        ended = [_status("locust", {"terminated": {"exitCode": status}})]
        api.set_status(pod, phase="Failed" if status else "Succeeded", containerStatuses=ended)

    def stop(self, pod: Plain) -> None:
        """End the processes of a pod that was deleted."""
        with self._lock:
            processes = self._processes.pop(pod["metadata"]["name"], [])
        for process in processes:
            if process.poll() is None:
                process.terminate()
        for process in processes:
            process.wait(END_S)

    def _start(self, pod: Plain, command: list[str], **streams: Any) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(command, env=self._environment, **streams)
        with self._lock:
            self._processes.setdefault(pod["metadata"]["name"], []).append(process)
        return process

    def _command(self, container: Plain, folder: Path) -> list[str]:
        """Return what a container runs, with its files where they are on this machine."""
        words = container.get("command", ["locust"])
        program = {
            "python": [sys.executable],
            "locust": [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE)],
        }
        words = [*program[words[0]], *words[1:], *container.get("args", ())]
        places = {PLAN_FOLDER: str(folder), OBSERVATIONS: str(folder / "observations.jsonl")}
        for place, here in places.items():
            words = [word.replace(place, here, 1) if word.startswith(place) else word for word in words]
        return words


def _copy(api: KubeApi, pod: Plain, relay: "subprocess.Popen[bytes]") -> None:
    assert relay.stdout
    for line in relay.stdout:
        api.write(pod, "observations", line.rstrip(b"\n"))
    api.write(pod, "observations", ended=True)


def _status(container: str, state: Plain) -> Plain:
    return {"name": container, "ready": "running" in state, "restartCount": 0, "state": state}


def quiet_port() -> int:
    """Return a free port that the kernel gives no connection of its own accord: a run listens on it again and
    again, and makes many connections meanwhile."""
    for port in random.sample(QUIET_PORTS, len(QUIET_PORTS)):
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("", port))
            return port
    raise AssertionError(f"no port of {QUIET_PORTS} is free")


def overlays_for(port: int, folder: Path) -> Path:
    """Copy k8s/ to `folder`, with targets at this port, where the tests' service is; return its overlays."""
    copy = folder / "k8s"
    shutil.copytree(Path(__file__).parents[1] / "k8s", copy)
    for file in copy.glob("components/target/*/kustomization.yaml"):
        file.write_text(file.read_text().replace(":8000", f":{port}"))
    return copy / "overlays"
