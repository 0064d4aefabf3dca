"""A cluster's API server: objects as plain values, and errors in words.

Every request may be sent again: what is applied or deleted twice is so once. While the server is away it is
asked again for a while, and never for ever. Knows nothing of what is run.
"""

import json
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Any, Self, TypeVar

import urllib3
from kubernetes import config
from kubernetes.client import ApiException, Configuration
from kubernetes.dynamic import DynamicClient

from loadgen.errors import ClusterError

Manifest = dict[str, Any]
Answer = TypeVar("Answer")

FIELD_MANAGER = "fiveways-bench"
ANSWER_S = 30.0
"""How long one answer may take."""
SOON_S, LATER_S = 0.05, 1.0
"""After how long something is asked again, at first and in the end."""
TRANSIENT = {429, 500, 502, 503, 504}
"""Answers of a server that may answer otherwise in a while."""
GONE = 404


@dataclass(frozen=True, slots=True)
class Kind:
    """What an API server calls a kind of objects."""

    api_version: str
    kind: str
    resource: str
    """Its name in paths: `deployments`."""
    namespaced: bool

    @property
    def group(self) -> str:
        """The API group, empty for Kubernetes' core."""
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """Return where an object, or all of a namespace or of the cluster, are."""
        parts = ["apis" if self.group else "api", self.api_version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.resource)
        return "/" + "/".join([*parts, name] if name else parts)


class ApiServer:
    """A connection to the API server of a context of the kubeconfig. Raises ClusterError."""

    def __init__(self, context: str | None, *, patience_s: float) -> None:
        try:
            # Waiting and asking again is done here, where it can be said how long it takes.
            settings = Configuration()
            settings.retries = False
            # The library looks for the variable once, when it is imported.
            file = os.environ.get("KUBECONFIG")
            client = config.new_client_from_config(file, context, client_configuration=settings)
        except (config.ConfigException, OSError) as error:
            raise ClusterError(
                f"no cluster to talk to: {error}; name one of `kubectl config get-contexts` with --context"
            ) from error
        self._raw = DynamicClient(client, discoverer=lambda *_: None)
        self._client = client
        self._patience_s = patience_s
        self.address: str = client.configuration.host
        self.kind = cache(self._discover)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def version(self) -> str:
        """Return the version of Kubernetes."""
        return str(self._ask("get", "/version")["gitVersion"])

    def groups(self) -> frozenset[str]:
        """Return the API groups that are served."""
        return frozenset(group["name"] for group in self._ask("get", "/apis")["groups"])

    def _discover(self, api_version: str, kind: str) -> Kind | None:
        """Return what the server knows a kind as; None where it knows no such kind."""
        place = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        found = self._find(place)
        for resource in found["resources"] if found else ():
            if resource["kind"] == kind and "/" not in resource["name"]:
                return Kind(api_version, kind, resource["name"], resource["namespaced"])
        return None

    def known(self, api_version: str, kind: str) -> Kind:
        """Return what the server knows a kind as. Raises ClusterError where it knows none."""
        found: Kind | None = self.kind(api_version, kind)
        if found is None:
            raise ClusterError(
                f"the cluster has no {kind} ({api_version}): what the overlay needs is not installed;"
                " its README says what that is"
            )
        return found

    def apply(self, manifest: Manifest) -> Manifest:
        """Create an object, or make it what its manifest says (server-side apply)."""
        body = json.dumps(manifest)
        return self._ask(
            "patch",
            self._path_of(manifest),
            body=json.loads(body),
            content_type="application/apply-patch+yaml",
            field_manager=FIELD_MANAGER,
        )

    def create(self, manifest: Manifest) -> Manifest:
        """Create an object that is a question, such as a SelfSubjectAccessReview, and return the answer."""
        kind = self.known(manifest["apiVersion"], manifest["kind"])
        return self._ask("post", kind.path(), body=manifest)

    def find(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Manifest | None:
        """Return an object; None where there is none, or no such kind."""
        known: Kind | None = self.kind(api_version, kind)
        return self._find(known.path(namespace, name)) if known else None

    def find_same(self, manifest: Manifest) -> Manifest | None:
        """Return the object that `manifest` would change."""
        return self._find(self._path_of(manifest))

    def items(
        self, api_version: str, kind: str, namespace: str | None = None, *, labels: str = ""
    ) -> list[Manifest]:
        """Return the objects of a kind, of all namespaces where none is named; none where there is no such
        kind."""
        known: Kind | None = self.kind(api_version, kind)
        if known is None:
            return []
        found: list[Manifest] = []
        going_on = ""
        while True:
            page = self._ask(
                "get",
                known.path(namespace),
                query={"labelSelector": labels, "limit": "500", "continue": going_on},
            )
            found += [{"apiVersion": api_version, "kind": kind, **item} for item in page["items"]]
            going_on = page["metadata"].get("continue", "")
            if not going_on:
                return found

    def delete(self, manifest: Manifest) -> None:
        """Ask for the end of an object and of all that belongs to it; there may be none."""
        try:
            self._ask("delete", self._path_of(manifest), query={"propagationPolicy": "Background"})
        except _AnswerError as error:
            if error.status != GONE:
                raise

    def log(self, namespace: str, pod: str, container: str, *, lines: int) -> str:
        """Return the last lines of a container's log; why there is none, where there is none."""
        query = {"container": container, "tailLines": str(lines)}
        try:
            with closing(self._open(f"/api/v1/namespaces/{namespace}/pods/{pod}/log", query)) as answer:
                return answer.read().decode(errors="replace").strip()
        except ClusterError as error:
            return f"(no log: {error})"

    def follow(
        self, namespace: str, pod: str, container: str, *, silence_s: float
    ) -> Generator[bytes, None, None]:
        """Yield the whole lines of a container's log, from its first, as they are written, until the
        connection ends in whatever way, or says nothing for `silence_s`. A line that was cut off is left out.
        """
        query = {"container": container, "follow": "true"}
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        with closing(self._open(path, query, silence_s=silence_s)) as answer:
            rest = b""
            try:
                for part in answer.stream(2**16, decode_content=True):
                    *lines, rest = (rest + part).split(b"\n")
                    yield from lines
            except (urllib3.exceptions.HTTPError, OSError):
                return

    def _path_of(self, manifest: Manifest) -> str:
        kind = self.known(manifest["apiVersion"], manifest["kind"])
        return kind.path(manifest["metadata"].get("namespace"), manifest["metadata"]["name"])

    def _find(self, path: str) -> Manifest | None:
        try:
            return self._ask("get", path)
        except _AnswerError as error:
            if error.status == GONE:
                return None
            raise

    def _ask(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, **options: Any
    ) -> Manifest:
        def ask() -> Manifest:
            answer = self._request(method, path, query, _request_timeout=ANSWER_S, **options)
            try:
                found: Manifest = json.loads(answer.data)
            except json.JSONDecodeError as error:
                raise _AnswerError(
                    f"{method} {path}: the API server answers what is no JSON", status=0
                ) from error
            return found

        return self._patiently(ask)

    def _open(self, path: str, query: Mapping[str, str], silence_s: float = ANSWER_S) -> urllib3.HTTPResponse:
        return self._patiently(
            lambda: self._request("get", path, query, _request_timeout=(ANSWER_S, silence_s))
        )

    def _request(
        self, method: str, path: str, query: Mapping[str, str] | None, **options: Any
    ) -> urllib3.HTTPResponse:
        words = [(name, value) for name, value in (query or {}).items() if value]
        try:
            answer: urllib3.HTTPResponse = self._raw.request(
                method, path, query_params=words, serialize=False, **options
            )
        except ApiException as error:
            raise _AnswerError(_words(error), status=error.status or 0) from error
        return answer

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        """Ask until there is an answer, for as long as this server may be away."""
        give_up_s = time.monotonic() + self._patience_s
        pauses = pauses_s()
        while True:
            try:
                return ask()
            except _AnswerError as error:
                if error.status not in TRANSIENT or time.monotonic() >= give_up_s:
                    raise
            except (urllib3.exceptions.HTTPError, OSError) as error:
                if time.monotonic() >= give_up_s:
                    raise ClusterError(
                        f"the API server at {self.address} has not answered for {self._patience_s:g} s:"
                        f" {error}"
                    ) from error
            time.sleep(next(pauses))


def pauses_s() -> Iterator[float]:
    """Yield how long to wait before the next question, each of them longer, up to LATER_S."""
    pause_s = SOON_S
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, LATER_S)


class _AnswerError(ClusterError):
    """The API server says no; the message says why."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


def _words(error: ApiException) -> str:
    """Return what the API server said, without the rest of its document."""
    try:
        return f"the API server says {error.status}: {json.loads(error.body)['message']}"
    except (json.JSONDecodeError, KeyError, TypeError):
        return f"the API server says {error.status}: {error.reason}"
