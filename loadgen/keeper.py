"""The process that outlives a sandbox, to kill whatever it leaves behind: SIGKILL runs no handler of anybody.

It stays outside the namespaces, knows the processes of the sandbox by their mount namespace, and never by
name or parent. It also writes the sandbox's id maps, which only a process outside may write in full.
"""

import errno
import json
import os
import select
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

_ANSWER_BYTES = 4096


def start_keeper() -> socket.socket:
    """Fork a keeper of this process, which must have one thread, and return the connection to it.

    The keeper is nobody's child but init's, and holds no descriptor of its caller.
    """
    ours, theirs = socket.socketpair()
    kept = os.pidfd_open(os.getpid())
    pid = os.getpid()
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            _keep(pid, kept, theirs)
        os._exit(0)
    os.waitpid(child, 0)
    os.close(kept)
    theirs.close()
    return ours


def hand_over(keeper: socket.socket, id_maps: dict[str, str]) -> None:
    """Tell the keeper that the namespaces are entered, and have it write `id_maps` (file of /proc: content).

    Raises the OSError that the keeper met.
    """
    keeper.sendall(json.dumps(id_maps).encode())
    keeper.shutdown(socket.SHUT_WR)
    received = keeper.recv(_ANSWER_BYTES)
    if not received:
        raise ConnectionResetError(errno.ECONNRESET, "the keeper of the sandbox has died")
    answer = json.loads(received)
    if answer["errno"]:
        raise OSError(answer["errno"], answer["why"])


def mount_namespace(process: int | str) -> str:
    """Return the name of a process's mount namespace, empty where it is none of our business or has ended."""
    try:
        return str(Path(f"/proc/{process}/ns/mnt").readlink())
    except OSError:
        return ""


def _keep(pid: int, kept: int, caller: socket.socket) -> NoReturn:
    """Be the keeper of process `pid`, which `kept` refers to."""
    os.setsid()
    _let_go(kept, caller.fileno())
    with caller, caller.makefile("rb") as orders:
        order = orders.read()
        namespace = mount_namespace(pid)
        if not order or namespace == mount_namespace("self"):
            os._exit(1)
        try:
            for name, content in json.loads(order).items():
                Path(f"/proc/{pid}/{name}").write_text(content, encoding="ascii")
            answer: dict[str, int | str] = {"errno": 0}
        except OSError as error:
            answer = {"errno": error.errno or 0, "why": error.strerror or ""}
        with suppress(BrokenPipeError):
            caller.sendall(json.dumps(answer).encode())
    _wait(kept)
    _kill_all(namespace)
    os._exit(0)


def _let_go(*keep: int) -> None:
    """Close every descriptor but `keep`, and put nothing in the place of the standard ones."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    beyond = 3
    for descriptor in sorted(keep):
        os.closerange(beyond, descriptor)
        beyond = descriptor + 1
    os.closerange(beyond, os.sysconf("SC_OPEN_MAX"))


def _kill_all(namespace: str) -> None:
    """Kill every process of a mount namespace, until there is none."""
    while left := [pid for pid in _processes() if mount_namespace(pid) == namespace]:
        for pid in left:
            with suppress(ProcessLookupError):
                process = os.pidfd_open(pid)
                # Looked at again through a descriptor that stays with the process: ids are used again.
                if mount_namespace(pid) == namespace:
                    signal.pidfd_send_signal(process, signal.SIGKILL)
                    _wait(process)
                os.close(process)


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _wait(process: int) -> None:
    """Wait until the process behind a pidfd has ended."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.poll()
