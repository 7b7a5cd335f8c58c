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

import trio

from weave import logs
from weave.errors import WeaveError
from weave.settings import Settings, hide_password, parse_settings

log = logging.getLogger("weave.router")

THREAD_TURN_S = 0.0005
"""How long one thread may keep the others waiting. The threads that write to the disk and that work in a container's
namespace have little to do and much to wait for; Python's own 5 ms would be most of what an attachment takes."""
SHUTDOWN_DEADLINE_S = 10.0
"""Closing the database and the sockets takes milliseconds; a second signal ends the process at once."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run a router with these arguments until it is told to stop; never returns."""
    words, secret = hide_password(sys.argv[1:] if argv is None else argv)
    if secret is not None:
        os.environ["WEAVE_PASSWORD"] = secret
        os.execv(sys.executable, [sys.executable, "-P", "-m", "weave.router", *words])  # noqa: S606 - our own program again
    failure: WeaveError | None = None
    try:
        settings = parse_settings(words, os.environ)
        os.environ.pop("WEAVE_PASSWORD", None)
        logs.configure(settings.log_level, settings.log_format)
        sys.setswitchinterval(THREAD_TURN_S)
        trio.run(_run, settings, strict_exception_groups=True)
    except* WeaveError as group:
        failure = _leaf(group)
    if failure is not None:
        sys.exit(f"weave router: {failure}")
    sys.exit(0)


async def _run(settings: Settings) -> None:
    from weave.router.router import Router, check_root

    check_root(os.geteuid())
    router = Router(settings)
    if settings.wipe:
        await router.wipe()
        return
    async with trio.open_nursery() as nursery:
        await nursery.start(_obey_signals, router)
        await router.run()
        nursery.cancel_scope.cancel()


async def _obey_signals(router: object, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Stop the router at the first SIGTERM or SIGINT, the process at the second."""
    from weave.router.router import Router

    assert isinstance(router, Router)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for number in signals:
            log.info("stopping", extra=logs.fields(signal=signal.Signals(number).name))
            router.stop()
            for other in (signal.SIGTERM, signal.SIGINT):
                signal.signal(other, signal.SIG_DFL)
            return


def _leaf(group: BaseExceptionGroup[WeaveError]) -> WeaveError:
    """Return the first cause of a group, which is what the operator needs to see."""
    leaf: BaseException = group
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    assert isinstance(leaf, WeaveError)
    return leaf
