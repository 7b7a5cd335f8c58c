"""Start a router as a process: options, log, signals, exit status.

Exit status 0 after an asked-for stop, 1 with one line on standard error where something could not be, 2 for wrong
usage. A password on the command line is moved to the environment before anything else: process lists show the one
and not the other.
"""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import trio

from weave import logs, process
from weave.settings import Settings, hide_password, parse_settings

if TYPE_CHECKING:
    from weave.router.router import Router

log = logging.getLogger("weave.router")

THREAD_TURN_S = 0.0005
"""How long one thread may keep the others waiting. The threads that write to the disk and that work in a container's
namespace have little to do and much to wait for; Python's own 5 ms would be most of what an attachment takes."""
SHUTDOWN_DEADLINE_S = 10.0
"""Closing the database and the sockets takes milliseconds; a second signal ends the process at once."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run a router with these arguments until it is told to stop; never returns."""
    process.run("weave router", partial(_start, sys.argv[1:] if argv is None else argv))


def _start(argv: Sequence[str]) -> None:
    words, secret = hide_password(argv)
    if secret is not None:
        os.environ["WEAVE_PASSWORD"] = secret
        os.execv(sys.executable, [sys.executable, "-P", "-m", "weave.router", *words])  # noqa: S606 - our own program again
    settings = parse_settings(words, os.environ)
    os.environ.pop("WEAVE_PASSWORD", None)
    logs.configure(settings.log_level, settings.log_format)
    sys.setswitchinterval(THREAD_TURN_S)
    trio.run(_run, settings, strict_exception_groups=True)


async def _run(settings: Settings) -> None:
    from weave.router.router import Router, check_root

    check_root(os.geteuid())
    router = Router(settings)
    if settings.wipe:
        await router.wipe()
        return
    async with trio.open_nursery() as nursery:
        await nursery.start(process.stop_at_signal, partial(_stop, router))
        await router.run()
        nursery.cancel_scope.cancel()


def _stop(router: "Router", number: signal.Signals) -> None:
    log.info("stopping", extra=logs.fields(signal=number.name))
    router.stop()
