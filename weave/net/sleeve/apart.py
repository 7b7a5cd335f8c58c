"""`weave-sleeve`: run the sleeve of a host apart from its router.

The sleeve outlives the router that started it, but not a container that both are in. Where that is replaced now and
then, as on Kubernetes, this runs the sleeve in a container of its own, and the router is told to start none
(`--sleeve-apart`).

It waits until the router has made the TAP device, and until no other sleeve listens. A sleeve that ends is started
again.
"""

import argparse
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from weave.addresses import parse_address
from weave.errors import EnvironmentFailure, WeaveError
from weave.logs import configure, fields
from weave.names import PeerName
from weave.net import host
from weave.net.model import DatapathConfig
from weave.net.sleeve.command import command
from weave.netlink.connection import Netlink

log = logging.getLogger("weave.sleeve")

LOOK_INTERVAL_S = 0.2
END_S = 5.0
"""How long a sleeve has to end in order."""
NOBODY = PeerName("02:00:00:00:00:00")
"""Only the names of devices are asked of the configuration, and they are everybody's."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `weave-sleeve`."""
    standard = DatapathConfig(NOBODY)
    parser = argparse.ArgumentParser(
        prog="weave-sleeve", allow_abbrev=False,
        description="Run the sleeve of this host, beside a router with --sleeve-apart. What the router is told by an "
        "option of the same name is to be told here too.")
    add = parser.add_argument
    add("--socket", type=Path, default=Path("/run/weave/weave-sleeve.sock"), metavar="PATH",
        help="where the router finds the sleeve, beside its own socket (default: %(default)s)")
    add("--host", metavar="ADDRESS", help="underlay address to listen on (default: all)")
    add("--port", type=int, default=6783, help="UDP port of the sleeve, TCP port of the mesh (default: %(default)s)")
    add("--bridge", metavar="NAME", default=standard.bridge, help="bridge of the containers (default: %(default)s)")
    add("--vxlan-port", type=int, default=standard.port, help="UDP port of VXLAN (default: %(default)s)")
    add("--log-level", metavar="LEVEL", default=os.environ.get("WEAVE_LOG_LEVEL", "info"),
        help="debug, info, warning or error (WEAVE_LOG_LEVEL; info)")
    add("--log-format", choices=("text", "json"), default="text", help="one event a line (default: %(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run until told to end; 1 where something is missing on this host."""
    given = build_parser().parse_args(argv)
    configure(given.log_level, given.log_format)
    signal.signal(signal.SIGTERM, _end)
    config = DatapathConfig(NOBODY, bridge=given.bridge, port=given.vxlan_port)
    try:
        listen = parse_address(given.host) if given.host else None
        while True:
            while not is_wanted(given.socket, config.sleeve):
                time.sleep(LOOK_INTERVAL_S)
            with Netlink() as netlink:
                most = host.largest_payload(netlink, config.devices)
            run(command(given.socket, config.sleeve, listen, given.port, most))
            time.sleep(LOOK_INTERVAL_S)
    except WeaveError as exc:
        sys.stderr.write(f"weave-sleeve: {exc}\n")
        return 1


def is_wanted(path: Path, device: str) -> bool:
    """Say whether there is a device for a sleeve, and no sleeve."""
    with suppress(OSError):
        socket.if_nametoindex(device)
        with socket.socket(socket.AF_UNIX) as caller:
            return caller.connect_ex(str(path)) != 0
    return False


def run(words: Sequence[str]) -> None:
    """Run a sleeve until it ends; it ends with us."""
    try:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    except OSError as exc:
        raise EnvironmentFailure(f"cannot start a sleeve: {exc.strerror}") from exc
    log.info("sleeve started", extra=fields(pid=process.pid))
    try:
        status = process.wait()
        log.warning("sleeve ended", extra=fields(pid=process.pid, status=status))
    finally:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
