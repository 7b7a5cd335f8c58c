"""Carry out what the `Reclaimer` decides: the record, the API server's word that a node is gone, our router."""

import logging
from collections.abc import Callable, Mapping, Set
from secrets import token_hex
from typing import assert_never

import trio

from weave.api.client import Refused
from weave.errors import EnvironmentFailure
from weave.kube import limits
from weave.kube.client import Client
from weave.kube.door import Door
from weave.kube.failure import NOT_FOUND, ApiFailure
from weave.kube.joining import Note
from weave.kube.membership import Record, admit, claim, finish, found
from weave.kube.reclaiming import Claim, Outcast, Reclaimer, Rejoin, Rest, TakeOver
from weave.kube.registry import Held, Registry
from weave.kube.resource import NODES
from weave.logs import fields

log = logging.getLogger("weave.kube")


class ReclaimService:
    """One agent's part in reclaiming; `work` does one step."""

    def __init__(
        self, node: str, note: Note, registry: Registry, client: Client, door: Door, nodes: Callable[[], Set[str]],
        remember: Callable[[str], None],
    ) -> None:
        """`nodes` gives the cluster's nodes by name, `remember` keeps the birth of the record we are a member by."""
        self.did_something = False
        """Whether there may be more to do at once."""
        self._node = node
        self.note = note
        self._registry = registry
        self._client = client
        self._door = door
        self._nodes = nodes
        self._remember = remember
        self._reclaimer = Reclaimer(note.peer, note.birth)
        self._left_alone: frozenset[str] = frozenset()

    async def work(self) -> None:
        """Read the record and do what is next."""
        self.did_something = False
        with trio.fail_after(limits.REQUEST_DEADLINE_S):
            held = await self._registry.read()
            if held.record is None or not held.record.seed:
                await self._restore(held)
                return
            self._check(held.record)
            nodes = self._nodes() | {self._node}
            reachable = await self._still_reachable(self._reclaimer.deleted(held.record, nodes))
            step = self._reclaimer.step(held.record, nodes, reachable, trio.current_time())
        match step:
            case Claim(peer, gone_node):
                await self._claim(held, peer, gone_node)
            case TakeOver(peer):
                await self._take_over(peer)
            case Rejoin():
                await self._rejoin(held, held.record)
            case Outcast():
                await self._leave()
            case Rest():
                return
            case _:
                assert_never(step)

    async def _still_reachable(self, deleted: Mapping[str, str]) -> frozenset[str]:
        """Return those of the peers that our router reaches; say so once of each."""
        found = frozenset(deleted) & await self._door.reachable() if deleted else frozenset()
        for peer in sorted(found - self._left_alone):
            log.info("a node was deleted, but is reachable; it keeps its addresses until it is not", extra=fields(
                peer=peer, node=deleted[peer]))
        self._left_alone = found
        return found

    def _check(self, record: Record) -> None:
        if record.seed != self.note.seed:
            raise EnvironmentFailure("the record of the cluster is that of another ring than ours; restart the pod of "
                                     "this node to join it, or restore the record")

    async def _claim(self, held: Held, peer: str, gone_node: str) -> None:
        assert held.record is not None
        asked_at = trio.current_time()
        with trio.fail_after(limits.REQUEST_DEADLINE_S):
            if gone_node and not await self._is_gone(gone_node):
                return
            self.did_something = True
            if await self._registry.write(claim(held.record, peer, self.note.peer), held.version):
                self._reclaimer.claimed(peer, asked_at)
                log.info("taking over the addresses of a node that is gone", extra=fields(peer=peer, node=gone_node))

    async def _is_gone(self, node: str) -> bool:
        """Ask for the node itself: our watch may lag behind a node that came back."""
        try:
            await self._client.get(NODES.path(name=node))
        except ApiFailure as failure:
            if failure.status == NOT_FOUND:
                return True
            raise
        return False

    async def _take_over(self, peer: str) -> None:
        try:
            await self._door.take_over(peer)
        except Refused as refusal:
            self._reclaimer.refused(peer, trio.current_time())
            raise EnvironmentFailure(f"{peer} cannot be taken over yet: {refusal}") from refusal
        log.info("took over the addresses of a peer", extra=fields(peer=peer))
        self.did_something = True
        while True:
            with trio.fail_after(limits.REQUEST_DEADLINE_S):
                held = await self._registry.read()
                if held.record is None or peer not in held.record.leaving:
                    return
                if await self._registry.write(finish(held.record, peer), held.version):
                    return

    async def _restore(self, held: Held) -> None:
        """Begin a record that was lost anew, with the ring we know."""
        log.warning("the record of the cluster is lost; restoring it", extra=fields(seed=",".join(self.note.seed)))
        record = found(token_hex(8), self.note.range, self.note.seed)
        await self._rejoin(held, record)

    async def _rejoin(self, held: Held, record: Record) -> None:
        self.did_something = True
        if await self._registry.write(admit(record, self.note.peer, self._node), held.version):
            await trio.to_thread.run_sync(self._remember, record.birth)
            self._reclaimer = Reclaimer(self.note.peer, record.birth)

    async def _leave(self) -> None:
        """End our router: its addresses were given to others; when it starts again it joins anew."""
        log.error("this node was removed from the cluster; its router ends, to come back without addresses",
                  extra=fields(peer=self.note.peer))
        await self._door.stop()
