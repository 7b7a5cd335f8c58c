"""The sleeve's side of the unix socket: routers connect, say what they want, and are told how the ways are.

The socket belongs to the sleeve, not to the router, so that a router that was killed finds the sleeve again, with every
session alive. Only our own user gets in. A router that says nonsense is cut off; what it said before stays.
"""

import logging
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from weave.errors import EnvironmentFailure, RemoteError
from weave.logs import fields
from weave.net.sleeve.messages import Message, Reader, frame

log = logging.getLogger("weave.sleeve")

_READ_BYTES = 1 << 16
_BACKLOG = 4
_MAX_UNSENT = 1 << 22
_CREDENTIALS = struct.Struct("=3i")


class Caller:
    """One connected router."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.reader = Reader()
        self.unsent = bytearray()


class Station:
    """Own the listening socket and who is connected."""

    def __init__(self, path: Path, hello: Callable[[], list[Message]]) -> None:
        self.callers: dict[int, Caller] = {}
        self._path = path
        self._hello = hello
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            fresh.unlink(missing_ok=True)
            before = os.umask(0o177)
            try:
                self._server.bind(str(fresh))
            finally:
                os.umask(before)
            self._server.listen(_BACKLOG)
            fresh.rename(path)
        except OSError as exc:
            raise EnvironmentFailure(f"cannot listen on {path}: {exc.strerror}") from exc

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._server.fileno()

    def accept(self) -> int | None:
        """Let a router in and greet it; return its descriptor."""
        try:
            sock, _ = self._server.accept()
        except OSError:
            return None
        sock.setblocking(False)
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        if _CREDENTIALS.unpack(raw)[1] not in (0, os.geteuid()):
            sock.close()
            return None
        caller = self.callers[sock.fileno()] = Caller(sock)
        for message in self._hello():
            caller.unsent += frame(message)
        self._flush(caller)
        return sock.fileno()

    def read(self, descriptor: int) -> list[Message] | None:
        """Return what a router said; None where it has gone."""
        caller = self.callers[descriptor]
        try:
            data = caller.sock.recv(_READ_BYTES)
            if data:
                return list(caller.reader.feed(data))
        except BlockingIOError:
            return []
        except (OSError, RemoteError) as exc:
            log.warning("router cut off", extra=fields(reason=exc))
        self._drop(descriptor)
        return None

    def tell(self, message: Message) -> bool:
        """Tell every router; say whether none was lost over it."""
        data = frame(message)
        before = len(self.callers)
        for descriptor, caller in list(self.callers.items()):
            caller.unsent += data
            if not self._flush(caller) or len(caller.unsent) > _MAX_UNSENT:
                self._drop(descriptor)
        return len(self.callers) == before

    @property
    def has_unsent(self) -> bool:
        """Say whether a router is yet to be told something."""
        return any(caller.unsent for caller in self.callers.values())

    def flush(self) -> None:
        """Send what could not be sent before."""
        for caller in self.callers.values():
            if caller.unsent:
                self._flush(caller)

    def close(self) -> None:
        """Close everything and take the socket away, unless it is somebody else's by now."""
        for descriptor in list(self.callers):
            self._drop(descriptor)
        self._server.close()
        self._path.unlink(missing_ok=True)

    def _flush(self, caller: Caller) -> bool:
        try:
            while caller.unsent:
                del caller.unsent[:caller.sock.send(caller.unsent)]
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True

    def _drop(self, descriptor: int) -> None:
        self.callers.pop(descriptor).sock.close()
