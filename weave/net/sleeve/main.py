"""Run a sleeve: `python -m weave.net.sleeve.main`. The router starts it; secrets come through the unix socket."""

import argparse
import gc
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType

from weave.addresses import parse_address
from weave.errors import WeaveError
from weave.logs import configure
from weave.net.sleeve.process import Process

PRIORITY = -10
"""Packets of all containers wait for us, as they would for the kernel, which nobody preempts."""


def main() -> int:
    """Run until told to end; 0 is an orderly end, 1 that something is missing on this host."""
    parser = argparse.ArgumentParser(prog="weave-sleeve", allow_abbrev=False)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--listen")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--most", type=int, required=True, help="largest UDP payload that our own devices carry")
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--log-format", default="text")
    given = parser.parse_args()
    configure(given.log_level, given.log_format)
    signal.signal(signal.SIGTERM, _end)
    try:
        process = Process(socket=given.socket, device=given.device, port=given.port, most=given.most,
                          listen=parse_address(given.listen) if given.listen else None)
        go_first(os.getpid())
        gc.collect()
        gc.freeze()
        process.run()
    except WeaveError as exc:
        sys.stderr.write(f"weave-sleeve: {exc}\n")
        return 1
    return 0


def go_first(pid: int) -> None:
    """Give a process precedence over ordinary ones; where sessions are scheduled as groups, its group too."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, PRIORITY)
    with suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(PRIORITY), encoding="ascii")


def _end(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
