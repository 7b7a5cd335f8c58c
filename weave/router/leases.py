"""Addresses that `weave-ipam` gave to other plugins: for whom, for which network, and whether they still live.

What `weave-net` attaches is found in the kernel; an address alone is not. So each lease remembers the network
namespace of its container, and is let go some time after that namespace went: runtimes forget to say so.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from store import Store
from store.changes import Delete, Put
from weave.addresses import IPInterface
from weave.api.errors import NotFound
from weave.api.wishes import Wish
from weave.errors import WeaveError
from weave.logs import fields
from weave.router.addressing import Addressing
from weave.router.containers import ident_of
from weave.wire import expect_map, expect_str, pack, unpack

log = logging.getLogger("weave.cni")

TABLE = "router.leases"
SWEEP_INTERVAL_S = 15.0
GRACE_S = 60.0
"""How long a lease outlives its namespace: a runtime that takes its time to call DEL is no reason to hurry."""

Key = tuple[str, str]
"""Container and interface."""


@dataclass(frozen=True, slots=True)
class Lease:
    """For whom an address is held."""

    container: str
    interface: str
    network: str
    netns: str
    namespace: str
    """Which namespace was there: a path may be used again."""

    @property
    def key(self) -> Key:
        """Return what identifies it on this host."""
        return self.container, self.interface

    @property
    def is_dead(self) -> bool:
        """Say whether its namespace is gone."""
        return bool(self.netns) and namespace_at(self.netns) != self.namespace


def namespace_at(path: str) -> str:
    """Return what tells the namespace at a path from others, empty where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    return f"{status.st_dev}:{status.st_ino}"


class Leases:
    """Own the leases of this host."""

    def __init__(self, store: Store, addressing: Addressing) -> None:
        self._store = store
        self._addressing = addressing
        self._leases: dict[Key, Lease] = {}
        self._dying: dict[Key, float] = {}

    def of_network(self, network: str) -> list[Lease]:
        """Return the leases of one network, sorted."""
        return [self._leases[key] for key in sorted(self._leases) if self._leases[key].network == network]

    def has(self, container: str, interface: str) -> bool:
        """Say whether there is a lease."""
        return (container, interface) in self._leases

    async def recover(self) -> None:
        """Read what was leased in an earlier life."""
        for value in (await self._store.read(TABLE)).values():
            row = expect_map(unpack(value), "a lease")
            lease = Lease(*(expect_str(row.get(key), key) for key in
                            ("container", "interface", "network", "netns", "namespace")))
            self._leases[lease.key] = lease

    async def take(self, lease: Lease, wishes: Sequence[Wish]) -> list[IPInterface]:
        """Return addresses as wished; asked again, the same. When it fails nothing is held."""
        is_new = lease.key not in self._leases
        ident = ident_of(lease.container, lease.interface)
        await self._store.commit([Put(TABLE, _row_key(lease.key), pack({
            "container": lease.container, "interface": lease.interface, "network": lease.network,
            "netns": lease.netns, "namespace": lease.namespace}))])
        self._leases[lease.key] = lease
        try:
            return [await self._addressing.fulfil(ident, wish) for wish in wishes]
        except BaseException:
            if is_new:
                with trio.CancelScope(shield=True):
                    await self.give_back(*lease.key)
            raise

    async def give_back(self, container: str, interface: str) -> None:
        """Release what is leased; nothing is fine."""
        try:
            await self._addressing.release(ident_of(container, interface), None)
        except NotFound:
            log.debug("nothing is leased", extra=fields(container=container, interface=interface))
        key = (container, interface)
        self._dying.pop(key, None)
        if self._leases.pop(key, None) is not None:
            await self._store.commit([Delete(TABLE, _row_key(key))])

    async def sweep(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Give back what belongs to namespaces that are gone, until cancelled."""
        task_status.started()
        while True:
            await trio.sleep(SWEEP_INTERVAL_S)
            for key in self._expired(trio.current_time()):
                log.info("a lease outlived its container", extra=fields(container=key[0], interface=key[1]))
                try:
                    await self.give_back(*key)
                except WeaveError as exc:
                    log.warning("a lease cannot be given back yet", extra=fields(container=key[0], reason=exc))

    def _expired(self, now: float) -> list[Key]:
        """Return the leases whose namespace has been gone for long enough."""
        dead = {key for key, lease in self._leases.items() if lease.is_dead}
        self._dying = {key: self._dying.get(key, now) for key in sorted(dead)}
        return [key for key, since in self._dying.items() if now - since >= GRACE_S]


def _row_key(key: Key) -> bytes:
    return "\0".join(key).encode()
