"""What a loader may not do while it is watched: reach another machine, or write into the checkpoint.

Python's own calls are refused (https://docs.python.org/3/library/audit_events.html). Native code is not seen here:
the checkpoint is compared before and after as well.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from typing import Any

LOCAL = ("localhost", "")
CHANGES = (
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.truncate",
    "os.link",
    "os.symlink",
    "os.chmod",
)
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
protected: list[str] = []


def confine() -> None:
    """Refuse both from now on, and leave no core file."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.addaudithook(watch)


def protect(directory: str) -> None:
    """Let nothing be written below `directory`."""
    protected[:] = [os.path.realpath(directory)]


def watch(event: str, args: tuple[Any, ...]) -> None:
    """Refuse an audited call by raising PermissionError."""
    if event == "open":
        if isinstance(args[2], int) and args[2] & WRITES:
            refuse_write(args[0])
    elif event in ("socket.connect", "socket.sendto", "socket.bind"):
        if event != "socket.bind" and not is_local(args[1]):
            raise PermissionError(f"ckptdoctor load: no network, and {args[1]!r} is not this machine")
    elif event == "socket.getaddrinfo":
        if not is_local(args):
            raise PermissionError(f"ckptdoctor load: no network, and {args[0]!r} is not this machine")
    elif event in CHANGES:
        for argument in args[:2]:
            refuse_write(argument)


def refuse_write(path: Any) -> None:
    """Raise PermissionError for a path below the protected directory."""
    if not protected or not isinstance(path, str | bytes):
        return
    place = os.path.realpath(os.fsdecode(path))
    if any(place == top or place.startswith(top + os.sep) for top in protected):
        raise PermissionError("ckptdoctor load: nothing is written into the checkpoint")


def is_local(address: Any) -> bool:
    """Whether a socket's address is on this machine: a Unix socket, or loopback."""
    if not isinstance(address, tuple):
        return True  # a path, or a family of sockets that leaves no machine (netlink)
    host = address[0]
    if host is None or host in LOCAL:
        return True
    try:
        found = ipaddress.ip_address(os.fsdecode(host) if isinstance(host, str | bytes) else host)
    except ValueError:
        return False
    return found.is_loopback or found.is_unspecified
