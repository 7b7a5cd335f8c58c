"""Keep one node in the cluster: `weave-kube agent`.

    follow nodes ──> targets of the router       nodes that are gone ──> reclaim what their peers had
    watch the router ──> expose, install the plugin, node condition, ready file

Everything is tried again until it holds, and an API server that does not answer changes nothing: the router, the
plugin and the kernel go on as they are. One line of log for each change of state.
"""

import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import trio

from weave.errors import EnvironmentFailure, WeaveError
from weave.kube import limits
from weave.kube.client import STRATEGIC_PATCH, Client
from weave.kube.door import Door, PolicyDoor
from weave.kube.files import remove_file, write_file
from weave.kube.following import follow
from weave.kube.installing import Places, install
from weave.kube.joining import Note
from weave.kube.nodes import NodeView, choose_targets, network_condition, read_node
from weave.kube.notes import load_note, save_note
from weave.kube.options import Options
from weave.kube.portmap import known_versions
from weave.kube.preparing import timestamp
from weave.kube.reclaim_service import ReclaimService
from weave.kube.reflector import Change, Remove, Synced, Upsert
from weave.kube.registry import Registry
from weave.kube.resource import NODES
from weave.logs import fields

log = logging.getLogger("weave.kube")

RESEND_S = 60.0
"""Targets are told to the router anew this often: it may have restarted without our noticing."""


@dataclass(slots=True)
class Cluster:
    """The nodes as we know them."""

    nodes: dict[str, NodeView] = field(default_factory=dict)
    is_synced: bool = False
    changed: trio.Event = field(default_factory=trio.Event)

    async def take(self, changes: Sequence[Change]) -> None:
        """Take in what the watch brought."""
        names, addresses = self.nodes.keys() | set(), {name: node.addresses for name, node in self.nodes.items()}
        for change in changes:
            match change:
                case Upsert(_, value):
                    node = read_node(value)
                    if node is not None:
                        self.nodes[node.name] = node
                case Remove(key):
                    self.nodes.pop(key, None)
                case Synced():
                    self.is_synced = True
        is_news = names != self.nodes.keys() or addresses != {name: node.addresses for name, node in self.nodes.items()}
        if is_news or any(isinstance(change, Synced) for change in changes):
            self.changed.set()
            self.changed = trio.Event()


class Agent:
    """One node's agent."""

    def __init__(self, options: Options, client: Client, rng: random.Random) -> None:
        self._options = options
        self._client = client
        self._rng = rng
        self._door = Door(options.socket)
        self._policy = PolicyDoor(options.npc_socket)
        self._cluster = Cluster()
        self._places = Places(options.cni_source, options.cni_bin, options.cni_conf)
        self._said: dict[str, str] = {}
        self._told: tuple[str, ...] | None = None
        self._told_at = 0.0
        self._ready_since: float | None = None
        self._condition_on: str | None = None
        """The node, by its uid, on which we said that the network is up."""
        self._life: tuple[str, int] | None = None
        self._alive_since = 0.0
        self._reclaiming: ReclaimService | None = None
        self._has_more = False

    async def run(self) -> None:
        """Work until cancelled."""
        remove_file(self._options.ready_file)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(follow, self._client, NODES, self._cluster.take, rng=self._rng))
            nursery.start_soon(self._keep_router)
            nursery.start_soon(self._keep_condition)
            nursery.start_soon(self._keep_record)

    # --- the router ----------------------------------------------------------------------------------------------

    async def _keep_router(self) -> None:
        """Bring a router that gets ready into service, and take it out when it is not.

        It is told the others as soon as it answers: that pods cannot start here yet keeps it from no part in the mesh.
        """
        while True:
            changed = self._cluster.changed
            if await self._door.is_ready():
                if self._cluster.is_synced:
                    await self._try("targets", self._tell_targets)
                if self._ready_since is None:
                    await self._try("router", self._enter_service)
            else:
                self._told = None
                if self._ready_since is not None:
                    self._out_of_service()
            in_service = self._ready_since is not None
            with trio.move_on_after(limits.POLL_ROUTER_READY_S if in_service else limits.POLL_ROUTER_S):
                await changed.wait()

    async def _enter_service(self) -> None:
        await self._door.expose()
        if self._options.expects_npc and not await self._policy.stands():
            self._say("router", f"waiting for the policy controller at {self._options.npc_socket} and its rules; "
                      "EXPECT_NPC=0 runs without policy")
            return
        portmap_knows = await known_versions(self._places.binaries)
        await trio.to_thread.run_sync(self._install, portmap_knows)
        self._ready_since = trio.current_time()
        self._condition_on = None
        log.info("the router serves this node", extra=fields(node=self._options.node))

    def _install(self, portmap_knows: Sequence[str] | None) -> None:
        if not install(self._places, hairpin=self._options.hairpin, portmap_knows=portmap_knows):
            log.info("keeping the CNI configuration that an operator wrote",
                     extra=fields(directory=self._places.configuration))
        write_file(self._options.ready_file, b"", 0o600)

    def _out_of_service(self) -> None:
        self._ready_since = None
        remove_file(self._options.ready_file)
        log.warning("the router does not serve this node; pods keep talking, new ones wait",
                    extra=fields(node=self._options.node))

    async def _tell_targets(self) -> None:
        targets = choose_targets(self._cluster.nodes, self._options.node)
        now = trio.current_time()
        if targets == self._told and now - self._told_at < RESEND_S:
            return
        await self._door.connect(targets)
        if targets != self._told:
            log.info("the router's targets", extra=fields(targets=",".join(targets) or "none"))
        self._told, self._told_at = targets, now

    async def _keep_condition(self) -> None:
        """Say that the network of this node can be used, each time that it comes into service, or is made anew."""
        while True:
            node = self._cluster.nodes.get(self._options.node)
            if self._ready_since is not None and node is not None and node.uid != self._condition_on:
                await self._try("condition", partial(self._set_condition, node.uid))
            await trio.sleep(limits.POLL_ROUTER_S)

    async def _set_condition(self, uid: str) -> None:
        with trio.fail_after(limits.REQUEST_DEADLINE_S):
            await self._client.patch(NODES.path(name=self._options.node, sub="status"),
                                     network_condition(timestamp(), is_up=True), STRATEGIC_PATCH)
        self._condition_on = uid

    # --- the record ----------------------------------------------------------------------------------------------

    async def _keep_record(self) -> None:
        """Take part in reclaiming, once our router has settled."""
        while True:
            changed = self._cluster.changed
            pause = limits.POLL_RECORD_S * self._rng.uniform(0.8, 1.2)
            self._has_more = False
            if self._cluster.is_synced and self._ready_since is not None and await self._try("record", self._reclaim) \
                    and self._has_more:
                pause = self._rng.uniform(0, limits.CLAIM_JITTER_S)
            with trio.move_on_after(pause):
                await changed.wait()
                await trio.sleep(self._rng.uniform(0, limits.CLAIM_JITTER_S))

    async def _reclaim(self) -> None:
        """Do one step of reclaiming, unless the router started a moment ago: it does not know yet who owned what."""
        life = await self._door.life()
        if life != self._life:
            self._life, self._alive_since = life, trio.current_time()
        if trio.current_time() - self._alive_since < limits.SETTLE_S:
            return
        note = await trio.to_thread.run_sync(load_note, self._options.state_dir)
        if note is None or note.peer != life[0]:
            raise EnvironmentFailure(f"{self._options.state_dir} does not tell of the router that runs; it should be "
                                     "started by `weave-kube router`")
        if self._reclaiming is None or self._reclaiming.note.peer != note.peer:
            self._reclaiming = self._reclaim_service(note)
        await self._reclaiming.work()
        self._has_more = self._reclaiming.did_something

    def _reclaim_service(self, note: Note) -> ReclaimService:
        def remember(birth: str) -> None:
            save_note(self._options.state_dir, replace(note, birth=birth))

        return ReclaimService(self._options.node, note, Registry(self._client, self._options.namespace), self._client,
                              self._door, self._cluster.nodes.keys, remember)

    # --- saying --------------------------------------------------------------------------------------------------

    async def _try(self, what: str, action: Callable[[], Awaitable[object]]) -> bool:
        """Do something that may fail for a while; say so once for each reason, and when it works again."""
        try:
            await action()
        except WeaveError as exc:
            self._say(what, str(exc))
            return False
        except trio.TooSlowError:
            self._say(what, "the API server gave no answer in time")
            return False
        if self._said.pop(what, None) and not (what == "router" and self._ready_since is None):
            log.info("works again", extra=fields(what=what))
        return True

    def _say(self, what: str, sentence: str) -> None:
        if self._said.get(what) != sentence:
            self._said[what] = sentence
            log.warning("will try again", extra=fields(what=what, reason=sentence))
