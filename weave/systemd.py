"""Tell the service manager how we are: the protocol of sd_notify(3), one datagram to the socket it named.

Without a service manager nothing happens. That it cannot be told is worth a warning, not an end: the unit's own
time-out is the judge then.
"""

import logging
import os
import socket

from weave.logs import fields

log = logging.getLogger("weave.systemd")

READY = "READY=1"
STOPPING = "STOPPING=1"


def notify(state: str) -> bool:
    """Send one state, like `READY=1`; say whether somebody was told."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # the abstract name space, as sd_notify(3) writes it
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as there:
            there.sendto(state.encode(), address)
    except OSError as exc:
        log.warning("the service manager cannot be told", extra=fields(state=state, reason=exc.strerror))
        return False
    return True
