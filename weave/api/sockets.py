"""Listening sockets of the API: a unix socket that only root can open, and a TCP port.

A unix socket is made under another name in a directory of its own, restricted, and only then moved to its place: at no
moment can a stranger connect, whatever the umask, and a client never meets a socket that nobody answers.
"""

import errno
import os
import socket
import stat
import tempfile
from pathlib import Path

from weave.errors import EnvironmentFailure, LocalError

BACKLOG = 128
MAX_UNIX_PATH = 107
"""`sun_path` of Linux, less its terminating zero."""
UNFINISHED_NAME = len("/.wXXXXXXXX/s")
SOCKET_MODE = 0o600
DIRECTORY_MODE = 0o755


def listen_unix(path: Path) -> socket.socket:
    """Return a socket listening at `path`, for our user alone; a dead socket there is replaced, a live one kept."""
    if max(len(os.fsencode(path)), len(os.fsencode(path.parent)) + UNFINISHED_NAME) > MAX_UNIX_PATH:
        raise LocalError(f"the socket path {path} is too long; give --socket a shorter one")
    try:
        path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        _refuse_if_taken(path)
        return _make(path)
    except OSError as exc:
        raise EnvironmentFailure(f"cannot listen at {path}: {exc.strerror}; say another place with --socket") from exc


def _refuse_if_taken(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise LocalError(f"{path} exists and is no socket; remove it, or say another place with --socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        error = probe.connect_ex(os.fspath(path))
    if error not in (errno.ECONNREFUSED, errno.ENOENT):
        raise LocalError(f"a router answers at {path} already; end it with `weave stop`, or give --socket another path")


def _make(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with tempfile.TemporaryDirectory(prefix=".w", dir=path.parent) as directory:
            unfinished = f"{directory}/s"
            listener.bind(unfinished)
            os.chmod(unfinished, SOCKET_MODE)
            listener.listen(BACKLOG)
            os.rename(unfinished, path)
    except BaseException:
        listener.close()
        raise
    return listener


def identity(path: Path) -> tuple[int, int] | None:
    """Return which file is at `path`, None where there is none."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def remove_unix(path: Path, expected: tuple[int, int] | None) -> None:
    """Remove our socket file, unless another router has put its own there by now."""
    if expected is not None and identity(path) == expected:
        path.unlink(missing_ok=True)


def listen_tcp(host: str, port: int) -> socket.socket:
    """Return a socket listening at this address and port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as exc:
        listener.close()
        raise EnvironmentFailure(f"cannot listen at {host} port {port} for status and metrics: {exc.strerror}; say "
                                 "another address with --metrics-addr, or off") from exc
    return listener
