"""A small API server for tests: it keeps objects, and speaks the REST paths that a run on a cluster uses.

Discovery, list with selectors, get, server-side apply, create of access reviews, delete, and logs that are
followed. Beside it, a kubelet makes pods of Deployments and Jobs: what becomes of a pod is decided by
`on_pod`."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

Plain = dict[str, Any]
Key = tuple[str, str, str]
"""Resource, namespace, name."""

KINDS = {
    "v1": {
        "namespaces": ("Namespace", False),
        "nodes": ("Node", False),
        "pods": ("Pod", True),
        "events": ("Event", True),
        "services": ("Service", True),
        "configmaps": ("ConfigMap", True),
        "serviceaccounts": ("ServiceAccount", True),
    },
    "apps/v1": {
        "deployments": ("Deployment", True),
        "replicasets": ("ReplicaSet", True),
        "daemonsets": ("DaemonSet", True),
    },
    "batch/v1": {"jobs": ("Job", True)},
    "policy/v1": {"poddisruptionbudgets": ("PodDisruptionBudget", True)},
    "k8s.cni.cncf.io/v1": {"network-attachment-definitions": ("NetworkAttachmentDefinition", True)},
    "authorization.k8s.io/v1": {"selfsubjectaccessreviews": ("SelfSubjectAccessReview", False)},
}
CLUSTER_IP, NODE_PORT = "127.0.0.1", 30123


@dataclass
class Log:
    """What a container has written, and whether it has ended."""

    lines: list[bytes] = field(default_factory=list)
    ended: bool = False


class KubeApi(ThreadingHTTPServer):
    """Listens on loopback. Everything it was asked is in `asked`."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.lock = threading.RLock()
        self.objects: dict[Key, Plain] = {}
        self.logs: dict[tuple[str, str, str], Log] = {}
        """By namespace, pod and container."""
        self.asked: list[tuple[str, str]] = []
        self.denied: Callable[[Plain], bool] = lambda _attributes: False
        """Which access reviews are answered with no."""
        self.refused: Callable[[str, str], bool] = lambda _method, _path: False
        """Which requests are answered with 403."""
        self.cut_logs_after = 0
        """Cut every followed log after so many lines; 0 for never."""
        self.on_pod: Callable[[KubeApi, Plain], None] = lambda _api, _pod: None
        """What becomes of a new pod: called once, with the pod in a thread of its own."""
        self.on_delete: Callable[[Plain], None] = lambda _pod: None

        self._away_until_s = 0.0
        self._open: set[socket.socket] = set()

    def refuse_connections(self, for_s: float = 1e6) -> None:
        """Be away: end all connections, and end new ones at once."""
        self._away_until_s = time.monotonic() + for_s
        for connection in tuple(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return time.monotonic() >= self._away_until_s

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def kubeconfig(self, folder: Path) -> Path:
        """Write a kubeconfig whose current context is this server."""
        file = folder / "kubeconfig"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "small", "cluster": {"server": self.url}}],
            "users": [{"name": "tester", "user": {"token": "secret"}}],
            "contexts": [{"name": "small", "context": {"cluster": "small", "user": "tester"}}],
            "current-context": "small",
        }
        file.write_text(yaml.safe_dump(config))
        return file

    def add(self, resource: str, thing: Plain) -> None:
        """Put an object there, as somebody else would."""
        with self.lock:
            metadata = thing["metadata"]
            self.objects[resource, metadata.get("namespace", ""), metadata["name"]] = thing

    def of(self, resource: str, namespace: str = "") -> list[Plain]:
        """Return all objects of a resource."""
        with self.lock:
            return [
                thing
                for (kind, place, _), thing in self.objects.items()
                if kind == resource and namespace in {"", place}
            ]

    def add_node(self, name: str, address: str, **spec: Any) -> None:
        self.add("nodes", a_node(name, address, **spec))

    def apply(self, resource: str, namespace: str, thing: Plain) -> Plain:
        with self.lock:
            key = resource, namespace, thing["metadata"]["name"]
            if namespace and ("namespaces", "", namespace) not in self.objects:
                raise LookupError(f'namespaces "{namespace}" not found')
            new = key not in self.objects
            self.objects[key] = thing
            if resource == "services":
                self._serve(thing)
            if new and resource in {"deployments", "jobs"}:
                self._make_pods(thing)
            return thing

    def _serve(self, service: Plain) -> None:
        spec = service["spec"]
        spec.setdefault("clusterIP", CLUSTER_IP)
        if spec.get("type") == "NodePort":
            spec["ports"][0]["nodePort"] = NODE_PORT

    def _make_pods(self, owner: Plain) -> None:
        spec, name, namespace = owner["spec"], owner["metadata"]["name"], owner["metadata"]["namespace"]
        for number in range(spec.get("parallelism", spec.get("replicas", 1))):
            labels = dict(spec["template"]["metadata"].get("labels", {}))
            if owner["kind"] == "Job":
                labels["batch.kubernetes.io/job-name"] = name
            pod: Plain = {
                "metadata": {
                    "name": f"{name}-{number}-{len(self.asked)}",
                    "namespace": namespace,
                    "labels": labels,
                    "annotations": dict(spec["template"]["metadata"].get("annotations", {})),
                    "owner": (owner["kind"], name),
                },
                "spec": spec["template"]["spec"],
                "status": {"phase": "Pending"},
            }
            self.add("pods", pod)
            threading.Thread(target=self.on_pod, args=(self, pod), daemon=True).start()

    def delete(self, resource: str, namespace: str, name: str) -> Plain:
        with self.lock:
            gone = self.objects.pop((resource, namespace, name))
            inside = [
                key
                for key, thing in self.objects.items()
                if (resource == "namespaces" and key[1] == name)
                or (key[1] == namespace and thing["metadata"].get("owner") == (gone.get("kind"), name))
            ]
            pods = [self.objects.pop(key) for key in inside]
        for pod in [gone, *pods]:
            if "containers" in pod.get("spec", {}):
                self.on_delete(pod)
        return gone

    def set_status(self, pod: Plain, **status: Any) -> None:
        """Change what is known of a pod, if it is there still."""
        with self.lock:
            pod["status"] = {**pod["status"], **status}

    def write(self, pod: Plain, container: str, *lines: bytes, ended: bool = False) -> None:
        """Append to the log of a container."""
        metadata = pod["metadata"]
        with self.lock:
            log = self.logs.setdefault((metadata["namespace"], metadata["name"], container), Log())
            log.lines += lines
            log.ended = log.ended or ended


def a_node(name: str, address: str, **spec: Any) -> Plain:
    """A node that takes pods."""
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": spec,
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": address}],
            "allocatable": {"cpu": "4"},
            "nodeInfo": {
                "kernelVersion": "6.8.0",
                "osImage": "Linux",
                "kubeletVersion": "v1.36.1",
                "containerRuntimeVersion": "containerd://2.1",
            },
        },
    }


def running(address: str = "127.0.0.1", **more: Any) -> Plain:
    """The status of a pod that runs and is ready."""
    return {
        "phase": "Running",
        "podIP": address,
        "hostIP": address,
        "conditions": [
            {"type": "PodScheduled", "status": "True"},
            {"type": "Ready", "status": "True"},
        ],
        "containerStatuses": [{"name": "locust", "ready": True, "restartCount": 0, "state": {"running": {}}}],
        **more,
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: KubeApi

    def handle(self) -> None:
        # A connection that is ended from here is nothing to report.
        with suppress(ConnectionError):
            super().handle()

    def _handle(self) -> None:
        target = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(target.query).items()}
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.server.asked.append((self.command, target.path))
        if self.server.refused(self.command, target.path):
            self._say(403, _status(403, "Forbidden", f'User "tester" cannot {self.command} {target.path}'))
            return
        try:
            self._route(target.path.strip("/").split("/"), query, body)
        except LookupError as error:
            self._say(404, _status(404, "NotFound", str(error) or "not found"))

    do_GET = do_PATCH = do_DELETE = do_POST = _handle  # noqa: N815 - http.server names them

    def _route(self, parts: list[str], query: dict[str, str], body: Any) -> None:
        if parts == ["version"]:
            self._say(200, {"gitVersion": "v1.36.1"})
            return
        if parts == ["apis"]:
            groups = sorted({version.partition("/")[0] for version in KINDS if "/" in version})
            self._say(200, {"groups": [{"name": group} for group in groups]})
            return
        api_version = "v1" if parts[0] == "api" else "/".join(parts[1:3])
        resources = KINDS[api_version]
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        if not parts:
            listed = [
                {"name": name, "kind": kind, "namespaced": namespaced}
                for name, (kind, namespaced) in resources.items()
            ]
            self._say(200, {"resources": listed})
            return
        namespace = ""
        if parts[0] == "namespaces" and len(parts) > 2:
            namespace, parts = parts[1], parts[2:]
        resource, *rest = parts
        if resource not in resources:
            raise LookupError(resource)
        self._do(resource, namespace, rest, query, body)

    def _do(self, resource: str, namespace: str, rest: list[str], query: dict[str, str], body: Any) -> None:
        server = self.server
        match self.command, rest:
            case "GET", []:
                items = [thing for thing in server.of(resource, namespace) if _selected(thing, query)]
                self._say(200, {"metadata": {}, "items": items})
            case "GET", [name]:
                with server.lock:
                    self._say(200, server.objects[resource, namespace, name])
            case "GET", [name, "log"]:
                self._log(namespace, name, query)
            case "PATCH", [_]:
                assert self.headers["Content-Type"] == "application/apply-patch+yaml"
                assert query["fieldManager"]
                self._say(200, server.apply(resource, namespace, body))
            case "DELETE", [name]:
                self._say(200, server.delete(resource, namespace, name))
            case "POST", [] if resource == "selfsubjectaccessreviews":
                allowed = not server.denied(body["spec"]["resourceAttributes"])
                self._say(201, {"status": {"allowed": allowed}})
            case _:
                self._say(405, _status(405, "MethodNotAllowed", f"{self.command} {self.path}"))

    def _log(self, namespace: str, name: str, query: dict[str, str]) -> None:
        with self.server.lock:
            self.server.objects["pods", namespace, name]
            log = self.server.logs.setdefault((namespace, name, query["container"]), Log())
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if "follow" not in query:
            with self.server.lock:
                lines = log.lines[-int(query["tailLines"]) :]
            self._chunk(b"".join(line + b"\n" for line in lines))
            self._chunk(b"")
            return
        self._follow(log)

    def _follow(self, log: Log) -> None:
        sent = 0
        while True:
            with self.server.lock:
                lines, ended = log.lines[sent:], log.ended
            for line in lines:
                if self.server.cut_logs_after and sent == self.server.cut_logs_after:
                    # In the middle of a line, as connections break.
                    self._chunk(line[: len(line) // 2])
                    self.server.cut_logs_after *= 2
                    self.close_connection = True
                    return
                self._chunk(line + b"\n")
                sent += 1
            if ended:
                self._chunk(b"")
                return
            time.sleep(0.02)

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
        self.wfile.flush()

    def _say(self, status: int, document: Plain) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _status(code: int, reason: str, message: str) -> Plain:
    return {"kind": "Status", "apiVersion": "v1", "code": code, "reason": reason, "message": message}


def _selected(thing: Plain, query: dict[str, str]) -> bool:
    labels = thing["metadata"].get("labels", {})
    wanted = [pair.split("=") for pair in query.get("labelSelector", "").split(",") if pair]
    return all(labels.get(name) == value for name, value in wanted)


@contextmanager
def serving(port: int = 0) -> Iterator[KubeApi]:
    with KubeApi(port) as api:
        thread = threading.Thread(target=api.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield api
        finally:
            with suppress(OSError):
                api.shutdown()
            thread.join()
