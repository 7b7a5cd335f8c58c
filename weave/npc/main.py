"""`weave-npc` as a process: options, log, signals, exit status.

Exit status 0 after an asked-for stop, 1 with one line on standard error where something could not be, 2 for wrong
usage. When it ends, however it ends, the rules stay.
"""

import gc
import logging
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial

import trio

from weave import logs
from weave.errors import EnvironmentFailure, WeaveError
from weave.npc import nft
from weave.npc.enforcer import Options
from weave.npc.kernel import Kernel
from weave.npc.nft_text import empty_text
from weave.npc.options import Settings, parse_options
from weave.npc.placement import Mode
from weave.npc.service import Controller
from weave.npc.source import Source
from weave.npc.source_directory import DirectorySource
from weave.systemd import READY, STOPPING, notify

log = logging.getLogger("weave.npc")

GC_THRESHOLDS = (50_000, 20, 20)


def main(argv: Sequence[str] | None = None) -> None:
    """Enforce policy on this host until told to stop; never returns."""
    failure: WeaveError | None = None
    try:
        settings = parse_options(sys.argv[1:] if argv is None else argv, os.environ)
        logs.configure(settings.log_level, settings.log_format)
        collect_seldom()
        trio.run(_run, settings, strict_exception_groups=True)
    except* WeaveError as group:
        failure = _leaf(group)
    if failure is not None:
        sys.exit(f"weave-npc: {failure}")
    sys.exit(0)


def collect_seldom() -> None:
    """Have Python look for cycles less often: clusters and rulesets are trees of values that have none.

    With its own thresholds it would go through ten thousand pods again and again while they are compiled, which took a
    third of that time.
    """
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


async def _run(settings: Settings) -> None:
    from weave.npc.service_status import serve_tcp, serve_unix  # slow to import: usage errors come without it

    if os.geteuid() != 0:
        raise EnvironmentFailure("weave-npc changes the kernel's packet filter: run it as root")
    nft.require_nft()
    if settings.wipe:
        await nft.load(empty_text(), lambda _: None)
        return
    source, mode = make_source(settings)
    with Kernel() as kernel:
        controller = Controller(source, settings.socket, mode, kernel,
                                Options(bridge=settings.bridge, multicast=settings.multicast),
                                settings.node_name or "")
        async with trio.open_nursery() as nursery:
            await nursery.start(_obey_signals, nursery.cancel_scope)
            await nursery.start(partial(serve_unix, controller, settings.status_socket))
            if settings.metrics is not None:
                await nursery.start(partial(serve_tcp, controller, *settings.metrics))
            nursery.start_soon(controller.run)
            await controller.enforced.wait()
            notify(READY)


def make_source(settings: Settings) -> tuple[Source, Mode]:
    """Return where policy comes from, and who knows the pods then."""
    if settings.policy_dir is not None:
        return DirectorySource(settings.policy_dir), Mode.CONTAINERS
    from weave.kube.config import discover  # the HTTP library takes a while: hosts without Kubernetes do without it
    from weave.npc.source_kubernetes import KubernetesSource

    config = discover(os.environ, settings.kubeconfig)
    return KubernetesSource(config, settings.node_name or os.uname().nodename), Mode.KUBERNETES


async def _obey_signals(scope: trio.CancelScope, task_status: trio.TaskStatus[None]) -> None:
    """End at the first SIGTERM or SIGINT, at once at the second."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for number in signals:
            log.info("stopping; the rules stay", extra=logs.fields(signal=signal.Signals(number).name))
            notify(STOPPING)
            for other in (signal.SIGTERM, signal.SIGINT):
                signal.signal(other, signal.SIG_DFL)
            scope.cancel()
            return


def _leaf(group: BaseExceptionGroup[WeaveError]) -> WeaveError:
    """Return the first cause of a group, which is what the operator needs to see."""
    leaf: BaseException = group
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    assert isinstance(leaf, WeaveError)
    return leaf
