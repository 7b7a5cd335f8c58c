"""Start `weave-kube`: options, log, signals, exit status.

`weave-kube router` finds this node's place in the cluster, then becomes `weave router` by exec. `weave-kube agent`
runs until it is told to stop. Exit status 0 after an asked-for stop, 1 with one line where something could not be, 2
for wrong usage.
"""

import os
import random
import signal
import sys
from collections.abc import Sequence

import trio

from weave import __version__, logs
from weave.errors import WeaveError
from weave.kube.options import Options, parse_options

USER_AGENT = f"weave-kube/{__version__}"


def main(argv: Sequence[str] | None = None) -> None:
    """Run `weave-kube` with these arguments; never returns."""
    failure: WeaveError | None = None
    try:
        options = parse_options(sys.argv[1:] if argv is None else argv, os.environ)
        logs.configure(options.log_level, options.log_format)
        if options.command == "router":
            seed = trio.run(_place, options, strict_exception_groups=True)
            if not seed:
                sys.exit(0)
            _close_to_new_pods(options)
            words = [sys.executable, "-P", "-m", "weave.router", *options.router_words(seed)]
            os.execv(sys.executable, words)  # noqa: S606 - our own program
        trio.run(_run_agent, options, strict_exception_groups=True)
    except* WeaveError as group:
        failure = _leaf(group)
    if failure is not None:
        sys.exit(f"weave-kube: {failure}")
    sys.exit(0)


def _close_to_new_pods(options: Options) -> None:
    """After a boot, let no pod start before the policy controller is there: the agent installs the plugin then.

    Where the controller's table stands in the kernel, new pods are closed by it, and the plugin may stay.
    """
    from weave.kube.installing import Places, policy_stands, withdraw

    if options.expects_npc and not policy_stands():
        withdraw(Places(options.cni_source, options.cni_bin, options.cni_conf))


async def _place(options: Options) -> tuple[str, ...]:
    """Return the peers of the first division; nothing where we were told to stop before we had a place."""
    from weave.kube.client import open_client
    from weave.kube.config import discover
    from weave.kube.preparing import place

    seed: tuple[str, ...] = ()
    config = discover(os.environ, options.kubeconfig)
    async with open_client(config, USER_AGENT) as client, trio.open_nursery() as nursery:
        await nursery.start(_obey_signals, nursery.cancel_scope)
        seed = await place(options, client)
        nursery.cancel_scope.cancel()
    return seed


async def _run_agent(options: Options) -> None:
    from weave.kube.agent import Agent
    from weave.kube.client import open_client
    from weave.kube.config import discover

    config = discover(os.environ, options.kubeconfig)
    async with open_client(config, USER_AGENT) as client, trio.open_nursery() as nursery:
        await nursery.start(_obey_signals, nursery.cancel_scope)
        await Agent(options, client, random.Random()).run()  # noqa: S311 - jitter


async def _obey_signals(scope: trio.CancelScope, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """End at the first SIGTERM or SIGINT."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            scope.cancel()
            return


def _leaf(group: BaseExceptionGroup[WeaveError]) -> WeaveError:
    """Return the first cause of a group, which is what the operator needs to see."""
    leaf: BaseException = group
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    assert isinstance(leaf, WeaveError)
    return leaf
