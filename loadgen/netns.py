"""Network namespaces, and the kernel's calls that Python 3.11 lacks for them.

A namespace is held by an open file descriptor and by nothing else: it ends with the last process that has
one, or that lives in it. Knows nothing of what is inside a namespace.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

_OWN = "/proc/thread-self/ns/net"


def unshare(flags: int) -> None:
    """Give the calling thread namespaces of its own: CLONE_* or-ed (unshare(2)). Raises OSError."""
    if _libc().unshare(flags) != 0:
        raise _error("unshare")


def make_mounts_private() -> None:
    """Stop mounts of this mount namespace from reaching others (mount(2)). Raises OSError."""
    ms_rec, ms_private = 0x4000, 0x40000
    if _libc().mount(None, b"/", None, ctypes.c_ulong(ms_rec | ms_private), None) != 0:
        raise _error("mount --make-rprivate /")


@contextmanager
def entered(netns: str | int) -> Iterator[None]:
    """Put the calling thread into a network namespace, given as a file or as an open descriptor.

    Nothing inside may yield to another greenlet: it would run in that namespace. Raises OSError.
    """
    own = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter(netns)
        try:
            yield
        finally:
            _setns(own)
    finally:
        os.close(own)


class Netns:
    """A network namespace of one's own, empty but for its loopback, until `close`."""

    def __init__(self, name: str) -> None:
        """Create it; `name` is for people only. Raises OSError."""
        self.name = name
        own = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            unshare(CLONE_NEWNET)
            try:
                self.descriptor = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
            finally:
                _setns(own)
        finally:
            os.close(own)

    @property
    def file(self) -> str:
        """Where other processes of the same user open it (see setns(2)), as long as this process lives."""
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it: it ends once no process lives in it and no socket belongs to it."""
        os.close(self.descriptor)


def _enter(netns: str | int) -> None:
    if isinstance(netns, int):
        _setns(netns)
        return
    descriptor = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(descriptor)
    finally:
        os.close(descriptor)


def _setns(descriptor: int) -> None:
    if _libc().setns(descriptor, CLONE_NEWNET) != 0:
        raise _error("setns")


def _libc() -> ctypes.CDLL:
    """Return the C library that this process already has, whichever it is."""
    return ctypes.CDLL(None, use_errno=True)


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
