"""Put frames on an interface.

Blocking, and short but for one thing, which is left to the caller: closing a packet socket, when the kernel waits for
all processors.
"""

import errno
import socket
from collections.abc import Sequence
from contextlib import ExitStack

from weave.errors import EnvironmentFailure

GOING_DOWN = frozenset({errno.ENODEV, errno.ENXIO, errno.ENETDOWN, errno.ENOBUFS})
"""Nobody needs to hear of an interface that is going."""


def announce(interface: str, frames: Sequence[bytes], later: ExitStack) -> None:
    """Send frames out of an interface of the namespace that the thread is in; `later` closes what was opened."""
    if not frames:
        return
    try:
        raw = later.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0))
        raw.bind((interface, 0))
        for frame in frames:
            raw.send(frame)
    except OSError as exc:
        if exc.errno not in GOING_DOWN:
            raise EnvironmentFailure(f"cannot send from {interface}: {exc.strerror}; CAP_NET_RAW is needed") from exc
