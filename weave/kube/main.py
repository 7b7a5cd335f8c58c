"""Start `weave-kube`: options, log, signals, exit status.

`weave-kube router` finds this node's place in the cluster, then becomes `weave router` by exec. `weave-kube agent`
runs until it is told to stop. Exit status 0 after an asked-for stop, 1 with one line where something could not be, 2
for wrong usage.
"""

import os
import random
import sys
from collections.abc import Sequence
from functools import partial

import trio

from weave import __version__, logs, process
from weave.kube.files import read_file
from weave.kube.options import Options, parse_options

USER_AGENT = f"weave-kube/{__version__}"


def main(argv: Sequence[str] | None = None) -> None:
    """Run `weave-kube` with these arguments; never returns."""
    process.run("weave-kube", partial(_start, sys.argv[1:] if argv is None else argv))


def _start(words: Sequence[str]) -> None:
    options = parse_options(words, os.environ)
    logs.configure(options.log_level, options.log_format)
    if options.command == "router":
        _become_router(options)
    else:
        trio.run(_run_agent, options, strict_exception_groups=True)


def _become_router(options: Options) -> None:
    """Find our place and go on as `weave router`; return where we were told to stop before we had a place."""
    seed = trio.run(_place, options, strict_exception_groups=True)
    if seed:
        _close_to_new_pods(options)
        words = [sys.executable, "-P", "-m", "weave.router",
                 *options.router_words(seed, accepts_another=has_second_password(options))]
        os.execv(sys.executable, words)  # noqa: S606 - our own program


def has_second_password(options: Options) -> bool:
    """Say whether there is a password to be accepted beside our own; most of the time there is none."""
    return bool((read_file(options.accept_file) or b"").strip())


def _close_to_new_pods(options: Options) -> None:
    """After a boot, have no pod sent here before the policy controller is there: the agent installs the plugin then.

    Where the controller's table stands in the kernel, new pods are closed by it, and the plugin may stay. A
    configuration that is not ours stays too: then it is the router that adds no pod (`--expect-npc`).
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
        await nursery.start(process.stop_at_signal, lambda _: nursery.cancel_scope.cancel())
        seed = await place(options, client)
        nursery.cancel_scope.cancel()
    return seed


async def _run_agent(options: Options) -> None:
    from weave.kube.agent import Agent
    from weave.kube.client import open_client
    from weave.kube.config import discover

    config = discover(os.environ, options.kubeconfig)
    async with open_client(config, USER_AGENT) as client, trio.open_nursery() as nursery:
        await nursery.start(process.stop_at_signal, lambda _: nursery.cancel_scope.cancel())
        await Agent(options, client, random.Random()).run()  # noqa: S311 - jitter
