"""A path: a way and a target, as a URL and the network namespace to dial it from.

A path is plain data that travels in a plan file from whoever made it to whoever sends over it; only
`open_socket` acts on one. Knows nothing of what lies between its two ends.
"""

import re
import socket
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path as File
from urllib.parse import urlsplit

from loadgen.errors import PathError
from loadgen.netns import entered

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")


@dataclass(frozen=True, slots=True)
class Path:
    """One path. Raises PathError where it could not be dialled.

    Every field is a plain value: `dataclasses.asdict` and `Path(**plain)` are its JSON round trip.
    """

    name: str
    """What tables call it, such as `vxlan/clusterip`; unique in a plan."""
    way: str
    """How the server is attached to the network, empty where nobody knows."""
    target: str
    """What kind of address is dialled, empty where nobody knows."""
    url: str
    """`http://10.96.0.10:8000`: where the service is, without the endpoint."""
    netns: str | None = None
    """A file that stands for the network namespace to dial from; None: from where one is."""
    attach: str = ""
    """Which workers dial it, by the label they were started with (`--attach pod`); all where empty."""
    server_netns: str | None = None
    """Likewise, for that of the server; None where it is elsewhere, or nobody knows."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise PathError(
                f"{self.name!r} is no name for a path: write letters, digits and . _ / - as in pod/clusterip"
            )
        check_url(f"path {self.name}", self.url)


def parse_paths(typed: Iterable[str]) -> tuple[Path, ...]:
    """Return the paths that people type as NAME=URL, in their order. Raises PathError.

    What people call a path says nothing about its way or its target, so both stay empty.
    """
    paths: dict[str, Path] = {}
    for text in typed:
        name, equals, url = text.partition("=")
        if not equals:
            raise PathError(f"{text!r} is not NAME=URL, such as host=http://10.0.0.7:8000")
        path = Path(name=name.strip(), way="", target="", url=url.strip().rstrip("/"))
        if path.name in paths:
            raise PathError(f"two paths are called {path.name!r}: {paths[path.name].url} and {path.url}")
        paths[path.name] = path
    return tuple(paths.values())


def read_paths(file: File) -> tuple[Path, ...]:
    """Return the paths of a TOML file, in their order. Raises PathError.

    Each is a table `[[path]]` with `name` and `url`, and any other word of Path.
    """
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8")).get("path", [])
        paths = tuple(Path(**{"way": "", "target": "", **table}) for table in tables)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, TypeError) as error:
        example = '[[path]] with name = "host" and url = "http://10.0.0.7:8000"'
        raise PathError(f"{file}: {error}; it has, for each path, {example}") from error
    if not paths:
        raise PathError(f"{file}: no [[path]] in it")
    return paths


def open_socket(netns: str | None, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """Return a new socket that belongs to the namespace `netns` (see Path.netns), wherever it is used.

    Never yields to another greenlet while the thread is away. Raises OSError.
    """
    if netns is None:
        return socket.socket(family, kind, protocol)
    with entered(netns):
        return socket.socket(family, kind, protocol)


def check_url(whose: str, url: str) -> None:
    """Raise PathError where `url`, which is `whose`, is not the root of an HTTP service."""
    example = "http://10.0.0.7:8000"
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise PathError(f"{whose}: {url!r} is no URL ({error}); write it as in {example}") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise PathError(f"{whose}: {url!r} is no URL to dial; write it as in {example}")
    if parts.query or parts.fragment or parts.username is not None:
        raise PathError(f"{whose}: {url!r} has more than scheme, host, port and prefix, as in {example}")
