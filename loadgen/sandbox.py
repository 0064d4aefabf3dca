"""The lab's private user, network and mount namespaces, which need no root and touch nothing of the machine.

A process enters them by executing itself again through `python -m loadgen.sandbox -- COMMAND`: the command
keeps its process id, terminal, signals and exit status, because nothing stands between it and its caller.
When it ends, by SIGKILL too, the keeper kills what it has started, and the namespaces are gone.
"""

import fcntl
import os
import socket
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

from loadgen import keeper, netns
from loadgen.errors import SandboxError

_MARK = "FIVEWAYS_SANDBOX"
_PRIVATE = netns.CLONE_NEWNET | netns.CLONE_NEWNS
_CAP_SYS_ADMIN = 1 << 21
_SWITCHES = {
    "user.max_user_namespaces": ("0", "15000"),
    "user.max_net_namespaces": ("0", "15000"),
    "kernel.unprivileged_userns_clone": ("0", "1"),
    "kernel.apparmor_restrict_unprivileged_userns": ("1", "0"),
}
"""What can forbid private namespaces: the sysctl, its forbidding value, and a value that allows them."""


def inside() -> bool:
    """Whether this process is in a sandbox."""
    return os.environ.get(_MARK, "outside") == keeper.mount_namespace("self")


def enter() -> None:
    """Return at once inside the sandbox; outside, execute this very command again inside.

    Call it before anything that must not be done twice. Where the sandbox cannot be entered, the command ends
    with one line on stderr and exit status 1.
    """
    if not inside():
        again = [sys.executable, *sys.orig_argv[1:]]
        os.execv(sys.executable, [sys.executable, "-m", "loadgen.sandbox", "--", *again])  # noqa: S606 - no shell


def explain(refusal: OSError, sysctls: Mapping[str, str], *, filtered: bool) -> str:
    """Return one line: what forbids the namespaces, and what to type.

    `sysctls` are the machine's, by name; `filtered` says whether a seccomp filter is on this process, as in a
    container.
    """
    for name, (forbidding, allowing) in _SWITCHES.items():
        if sysctls.get(name) == forbidding:
            return (
                f"{name}={forbidding} forbids the lab's private network namespaces; "
                f"type: sudo sysctl -w {name}={allowing}"
            )
    if filtered:
        return (
            f"this container forbids the lab's private network namespaces ({refusal.strerror}); "
            "start it with: docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
            "--security-opt systempaths=unconfined ..."
        )
    return (
        f"this machine forbids the lab's private network namespaces ({refusal.strerror}); "
        "type the same command after sudo, or measure endpoints of your own: fiveways bench urls --help"
    )


def main(arguments: list[str]) -> int:
    """Become the command after `--` inside a sandbox; return an exit status where that cannot be."""
    if len(arguments) < 2 or arguments[0] != "--":
        print("usage: python -m loadgen.sandbox -- COMMAND [ARGUMENT ...]", file=sys.stderr)  # noqa: T201
        return 2
    command = arguments[1:]
    try:
        _isolate()
        os.execvp(command[0], command)  # noqa: S606 - no shell
    except SandboxError as error:
        complaint = str(error)
    except OSError as error:
        complaint = f"{command[0]}: {error.strerror}"
    print(f"fiveways: {complaint}", file=sys.stderr)  # noqa: T201 - the command that would print never began
    return 1


def _isolate() -> None:
    """Give this process, which must have one thread, the private namespaces. Raises SandboxError."""
    if not sys.platform.startswith("linux"):
        raise SandboxError(
            f"the lab is made of Linux network namespaces, and this is {sys.platform}: "
            "run it in a Linux virtual machine, or measure endpoints of your own: fiveways bench urls --help"
        )
    sysctls = {name: _read(f"/proc/sys/{name.replace('.', '/')}") for name in _SWITCHES}
    status = dict(line.split(":\t", 1) for line in _read("/proc/self/status").splitlines())
    id_maps = _id_maps()
    with keeper.start_keeper() as connection:
        try:
            try:
                netns.unshare(netns.CLONE_NEWUSER | _PRIVATE)
            except OSError:
                if not int(status["CapEff"], 16) & _CAP_SYS_ADMIN:
                    raise
                netns.unshare(_PRIVATE)
                id_maps = {}
            keeper.hand_over(connection, id_maps)
            netns.make_mounts_private()
            _raise_loopback()
        except OSError as error:
            raise SandboxError(explain(error, sysctls, filtered=status["Seccomp"] == "2")) from error
    os.environ[_MARK] = keeper.mount_namespace("self")


def _id_maps() -> dict[str, str]:
    """Return what the files /proc/PID/* of the new user namespace must say, in the order of writing.

    An ordinary user becomes root there, and is nobody else. Root stays itself and keeps everybody, or it
    could not write into the folders of others.
    """
    if os.geteuid() == 0:
        return {
            name: "".join(
                f"{first} {first} {count}\n"
                for first, _, count in map(str.split, _read(f"/proc/self/{name}").splitlines())
            )
            for name in ("uid_map", "gid_map")
        }
    return {"setgroups": "deny", "uid_map": f"0 {os.geteuid()} 1\n", "gid_map": f"0 {os.getegid()} 1\n"}


def _raise_loopback() -> None:
    """Set `lo` up, which a new network namespace has down."""
    siocsifflags, iff_up = 0x8914, 0x1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, siocsifflags, struct.pack("16sh14x", b"lo", iff_up))


def _read(file: str) -> str:
    """Return what a file of /proc says, empty where the kernel has no such file."""
    try:
        return Path(file).read_text(encoding="ascii").strip()
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
