"""Bring a node to its place in the cluster, then become its router: `weave-kube router`.

The decisions are those of `joining`; this carries them out. It runs at every start of the router's container, so that
a node which was removed meanwhile notices before its router says a word. Without the API server a node that was a
member before starts after a while with what it noted: a reboot must not need the control plane.
"""

import logging
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import assert_never

import trio

from weave.errors import EnvironmentFailure, LocalError
from weave.kube import limits
from weave.kube.client import STRATEGIC_PATCH, Client
from weave.kube.failure import ApiFailure
from weave.kube.joining import Hold, Note, Refuse, Situation, Start, StepBack, Verdict, Write, decide
from weave.kube.nodes import NodeView, network_condition, read_node
from weave.kube.notes import drop_note, has_state, load_note, save_note
from weave.kube.options import Options
from weave.kube.reflector import List
from weave.kube.registry import Held, Registry
from weave.kube.resource import NODES, mapping, metadata, sequence, text
from weave.logs import fields

log = logging.getLogger("weave.kube")

RETRY_S = 1.0
"""The first nodes of a cluster wait for each other; the API server is asked this often meanwhile."""
PROGRAM_DEADLINE_S = 60.0


async def place(options: Options, client: Client) -> tuple[str, ...]:
    """Return the peers of the first division once this node may start its router."""
    return await Placing(options, client, Registry(client, options.namespace)).run()


class Placing:
    """One node on its way into the cluster."""

    def __init__(self, options: Options, client: Client, registry: Registry) -> None:
        self._options = options
        self._client = client
        self._registry = registry
        self._note = _first_note(options)
        self._peer = ""
        self._has_registered = False
        self._began = trio.current_time()
        self._said = ""

    async def run(self) -> tuple[str, ...]:
        """Do what is decided, step by step, until the router may start."""
        self._peer = await self._identify()
        while True:
            try:
                with trio.fail_after(limits.REQUEST_DEADLINE_S):
                    held, nodes = await self._registry.read(), await self._nodes()
                    verdict = self._decide(held, nodes)
                    seed = await self._carry_out(verdict, held)
            except (ApiFailure, trio.TooSlowError) as exc:
                self._say(f"the API server cannot be asked: {str(exc) or 'no answer in time'}")
                seed = self._offline()
            if seed:
                return seed
            await trio.sleep(RETRY_S)

    def _decide(self, held: Held, nodes: Mapping[str, NodeView]) -> Verdict:
        me = self._options.node
        return decide(Situation(
            self._peer, me, self._options.range, self._note, held.record, nodes.keys(),
            frozenset(name for name, node in nodes.items() if name != me and node.is_ready and node.has_our_network),
            self._has_registered, trio.current_time() - self._began, secrets.token_hex(8)))

    async def _carry_out(self, verdict: Verdict, held: Held) -> tuple[str, ...]:
        match verdict:
            case Write(record, registers):
                if await self._registry.write(record, held.version):
                    self._has_registered |= registers
            case Start(seed):
                assert held.record is not None
                save_note(self._options.state_dir, Note(self._peer, seed, self._options.range, held.record.birth))
                log.info("this node has its place", extra=fields(peer=self._peer, seed=",".join(seed)))
                return seed
            case StepBack(reason):
                await self._step_back(reason)
            case Hold(reason):
                self._say(reason)
                if held.record is None:
                    await self._say_we_start()
            case Refuse(reason):
                raise LocalError(reason)
            case _:
                assert_never(verdict)
        return ()

    async def _step_back(self, reason: str) -> None:
        """Remove what the router knew, so that it comes back as a new peer without addresses."""
        log.warning("this node steps back and joins anew", extra=fields(peer=self._peer, reason=reason))
        await _run_program(["weave.router", "--wipe", "--state-dir", str(self._options.state_dir),
                            *self._options.wipe_options])
        drop_note(self._options.state_dir)
        self._note = _first_note(self._options)
        self._peer = await self._identify()
        self._has_registered = False

    async def _identify(self) -> str:
        """Return the name of our peer; the note goes first, so that a state file without one is a stranger's."""
        save_note(self._options.state_dir, self._note)
        return (await _run_program(["weave.router.identify", str(self._options.state_dir)])).strip()

    async def _say_we_start(self) -> None:
        """Take back that our network is up: nodes that wait for each other must not take each other for running."""
        await self._client.patch(NODES.path(name=self._options.node, sub="status"),
                                 network_condition(timestamp(), is_up=False), STRATEGIC_PATCH)

    async def _nodes(self) -> dict[str, NodeView]:
        found: dict[str, NodeView] = {}
        continuation = ""
        while True:
            page = await self._client.page(NODES, List(limits.PAGE_OBJECTS, continuation), {})
            for item in sequence(mapping(page).get("items")):
                node = read_node(item)
                if node is not None:
                    found[node.name] = node
            continuation = text(metadata(page).get("continue"))
            if not continuation:
                return found

    def _offline(self) -> tuple[str, ...]:
        """Return what we noted, where we were a member before and waited long enough; nothing otherwise."""
        if not self._note.seed or trio.current_time() - self._began < limits.OFFLINE_START_S:
            return ()
        if self._note.range != self._options.range:
            raise LocalError(f"this node divides {self._note.range}, but is told {self._options.range}; wait until the "
                             "API server answers, or give it the old range")
        log.warning("starting by what this node noted, without the API server", extra=fields(peer=self._peer))
        return self._note.seed

    def _say(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            log.warning("not ready to start the router", extra=fields(reason=sentence))


def _first_note(options: Options) -> Note:
    """Return our note, an empty one at the first start."""
    note = load_note(options.state_dir)
    if note is None:
        if has_state(options.state_dir):
            raise LocalError(f"{options.state_dir} holds the state of a router that was not started by weave-kube; "
                             "run `weave reset` on this node, or remove the directory, to let it join this cluster")
        return Note("", (), options.range, "")
    return note


async def _run_program(words: Sequence[str]) -> str:
    command = [sys.executable, "-P", "-m", *words]
    run = partial(subprocess.run, command, capture_output=True, text=True, timeout=PROGRAM_DEADLINE_S, check=False,
                  stdin=subprocess.DEVNULL)
    try:
        done = await trio.to_thread.run_sync(run)
    except subprocess.TimeoutExpired as exc:
        raise EnvironmentFailure(f"`{' '.join(words)}` did not end within {PROGRAM_DEADLINE_S:g} s") from exc
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it ended without a word"]
        raise EnvironmentFailure(lines[-1])
    return done.stdout


def timestamp() -> str:
    """Return the time of the host as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
