"""A container joins, a container leaves: address, kernel, names and announcement as one step that undoes itself.

What is attached is remembered in the state file and found again in the kernel, so that a router that returns knows
its containers. The kernel is the judge of what lives: a container whose interface is gone is detached by the sweep,
whoever forgot to say so.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

from store import Store
from store.changes import Delete, Put
from weave.addresses import IPAddress, IPInterface, parse_interface
from weave.api.control import DEFAULT_INTERFACE, Attachment, AttachSpec, DetachSpec
from weave.api.errors import NotFound
from weave.api.wishes import Exactly, Wish
from weave.errors import EnvironmentFailure, LocalError, WeaveError
from weave.labels import check_labels
from weave.logs import fields
from weave.net import AttachRequest, Datapath, Endpoint
from weave.router.addressing import Addressing, is_wished
from weave.router.announce import Announcer
from weave.router.naming import Naming
from weave.wire import expect_list, expect_map, expect_str, pack, unpack

log = logging.getLogger("weave.containers")

TABLE = "router.containers"
SWEEP_INTERVAL_S = 2.0
"""How long the address and the name of a container that vanished without a word live on."""
UNDO_DEADLINE_S = 10.0


@dataclass(slots=True)
class _Turnstile:
    """Lets one request at a time work on one container, and forgets containers nobody works on."""

    locks: dict[str, tuple[trio.Lock, int]] = field(default_factory=dict)

    @asynccontextmanager
    async def pass_through(self, container: str) -> AsyncIterator[None]:
        lock, users = self.locks.get(container, (trio.Lock(), 0))
        self.locks[container] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self.locks.pop(container)
            if users > 1:
                self.locks[container] = (lock, users - 1)


def ident_of(container: str, interface: str) -> str:
    """Return the word under which the allocator keeps the addresses of one interface of a container."""
    return container if interface == DEFAULT_INTERFACE else f"{container}/{interface}"


class Containers:
    """Own the attachments of this host."""

    def __init__(self, *, store: Store, datapath: Datapath, addressing: Addressing, naming: Naming,
                 announcer: Announcer) -> None:
        self._store = store
        self._datapath = datapath
        self._addressing = addressing
        self._naming = naming
        self._announcer = announcer
        self._attached: dict[tuple[str, str], Attachment] = {}
        self._turnstile = _Turnstile()
        self._orphans: list[tuple[str, IPInterface]] = []

    def attachments(self) -> list[Attachment]:
        """Return what is attached, sorted by container and interface."""
        return [self._attached[key] for key in sorted(self._attached)]

    async def recover(self) -> None:
        """Find again what was attached in an earlier life and still lives; let go of what does not."""
        rows = await self._store.read(TABLE)
        remembered = {attachment_key(row): row for row in map(_decode, rows.values())}
        alive = {(found.container, found.interface): found for found in await self._datapath.attachments()}
        for key, row in sorted(remembered.items()):
            self._attached[key] = row
            if key in alive:
                self._announcer.announce(_endpoint(row))
            else:
                await self._drop(row)
        for key, found in sorted(alive.items()):
            if key not in remembered:
                await self._adopt(Attachment(container=found.container, interface=found.interface, mac=found.mac,
                                             addresses=found.addresses, mtu=found.mtu))

    async def _adopt(self, found: Attachment) -> None:
        """Take in a container that runs but is in no record: the state file is newer than it, or was lost."""
        log.warning("container found that is in no record; its addresses are claimed", extra=fields(
            container=found.container, interface=found.interface, addresses=",".join(map(str, found.addresses))))
        await self._store.commit([Put(TABLE, _row_key(found), _encode(found))])
        self._attached[attachment_key(found)] = found
        self._announcer.announce(_endpoint(found))
        self._orphans += [(ident_of(*attachment_key(found)), address) for address in found.addresses]

    async def claim_orphans(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Claim the addresses of containers that were found: this may wait for the range to be divided."""
        task_status.started()
        for ident, address in self._orphans:
            try:
                await self._addressing.fulfil(ident, Exactly(address))
            except WeaveError as exc:
                log.error("an address runs here that is not ours to give", extra=fields(  # noqa: TRY400
                    container=ident, address=address, reason=exc))

    async def sweep(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Detach containers whose interface vanished, until cancelled."""
        task_status.started()
        while True:
            await trio.sleep(SWEEP_INTERVAL_S)
            suspects = dict(self._attached)
            try:
                alive = {(found.container, found.interface) for found in await self._datapath.attachments()}
                for key in sorted(suspects.keys() - alive):
                    async with self._turnstile.pass_through(key[0]):
                        if self._attached.get(key) is suspects[key]:
                            log.info("container is gone", extra=fields(container=key[0], interface=key[1]))
                            await self._drop(suspects[key])
            except EnvironmentFailure as exc:
                log.warning("cannot look for containers that are gone", extra=fields(reason=exc))

    async def attach(self, spec: AttachSpec) -> Attachment:
        """Put a container on the network; undo everything when any step fails."""
        async with self._turnstile.pass_through(spec.container), AsyncExitStack() as undo:
            before = self._attached.get((spec.container, spec.interface))
            held = () if before is None else before.addresses
            addresses = await self._acquire(spec, held, undo)
            gateway = await self._addressing.bridge_address() if spec.default_route or self._naming.enabled else None
            done = await self._datapath.attach(AttachRequest(
                container=spec.container, netns=spec.netns, interface=spec.interface,
                addresses=tuple(sorted({*held, *addresses}, key=_by_value)), mac=spec.mac, mtu=spec.mtu,
                gateway=gateway.ip if gateway is not None and spec.default_route else None,
                multicast_route=spec.multicast_route,
            ))
            if before is None:
                undo.push_async_callback(self._datapath.detach, spec.container, spec.interface)
            attachment = Attachment(
                container=spec.container, interface=spec.interface, mac=done.mac, addresses=done.addresses,
                mtu=done.mtu, netns=spec.netns, gateway=gateway.ip if gateway is not None else None,
                fqdns=tuple(sorted({*spec.fqdns, *(() if before is None else before.fqdns)})),
                labels=check_labels({**({} if before is None else before.labels), **spec.labels}),
            )
            await self._record(attachment, undo)
            self._announcer.announce(_endpoint(attachment))
            self._attached[attachment_key(attachment)] = attachment
            undo.pop_all()
        log.info("attached", extra=fields(container=spec.container, interface=spec.interface, mac=attachment.mac,
                                          addresses=",".join(map(str, attachment.addresses))))
        return replace(attachment, addresses=tuple(addresses))

    async def detach(self, spec: DetachSpec) -> list[IPInterface]:
        """Take a container, or some of its addresses, off the network; return the addresses removed."""
        async with self._turnstile.pass_through(spec.container):
            removed: list[IPInterface] = []
            for key in sorted(self._attached):
                if key[0] == spec.container and spec.interface in (None, key[1]):
                    removed += await self._detach_one(self._attached[key], spec.wishes)
            if not removed and not spec.wishes:
                await self._release(spec.container, spec.interface or DEFAULT_INTERFACE)
            return removed

    async def _detach_one(self, attachment: Attachment, wishes: Sequence[Wish]) -> list[IPInterface]:
        removed = [address for address in attachment.addresses
                   if not wishes or is_wished(address, wishes, self._addressing.default_subnet)]
        kept = tuple(address for address in attachment.addresses if address not in removed)
        if not kept:
            await self._drop(attachment)
            return removed
        await self._datapath.remove_addresses(attachment.container, attachment.interface, attachment.netns, removed)
        ident = ident_of(attachment.container, attachment.interface)
        for address in removed:
            await self._addressing.release(ident, address.ip)
            await self._naming.remove(attachment.container, None, address.ip)
        smaller = replace(attachment, addresses=kept)
        await self._store.commit([Put(TABLE, _row_key(smaller), _encode(smaller))])
        self._attached[attachment_key(smaller)] = smaller
        self._announcer.announce(_endpoint(smaller))
        return removed

    async def _acquire(self, spec: AttachSpec, held: Sequence[IPInterface], undo: AsyncExitStack) -> list[IPInterface]:
        """Return the addresses the wishes stand for, each released again should a later step fail."""
        ident = ident_of(spec.container, spec.interface)
        addresses = []
        for wish in spec.wishes:
            known = set(self._addressing.lookup(ident, None))
            address = await self._addressing.fulfil(ident, wish)
            addresses.append(address)
            if address not in known and address not in held:
                undo.push_async_callback(self._undo_release, ident, address.ip)
        return addresses

    async def _record(self, attachment: Attachment, undo: AsyncExitStack) -> None:
        for fqdn in attachment.fqdns:
            for address in attachment.addresses:
                await self._naming.add(attachment.container, fqdn, address.ip)
                undo.push_async_callback(self._naming.remove, attachment.container, fqdn, address.ip)
        await self._store.commit([Put(TABLE, _row_key(attachment), _encode(attachment))])

    async def _drop(self, attachment: Attachment) -> None:
        """Forget one attachment everywhere; every step is done whatever became of the others."""
        self._announcer.withdraw(attachment.mac)
        self._attached.pop(attachment_key(attachment), None)
        await self._store.commit([Delete(TABLE, _row_key(attachment))])
        for address in attachment.addresses:
            await self._naming.remove(attachment.container, None, address.ip)
        await self._datapath.detach(attachment.container, attachment.interface)
        await self._release(attachment.container, attachment.interface)

    async def _release(self, container: str, interface: str) -> None:
        try:
            await self._addressing.release(ident_of(container, interface), None)
        except NotFound:
            return

    async def _undo_release(self, ident: str, address: IPAddress) -> None:
        with trio.move_on_after(UNDO_DEADLINE_S) as scope:
            scope.shield = True
            try:
                await self._addressing.release(ident, address)
            except WeaveError as exc:
                log.warning("address of a failed attach is not free yet", extra=fields(ident=ident, reason=exc))


def attachment_key(attachment: Attachment) -> tuple[str, str]:
    """Return what identifies an attachment on this host."""
    return attachment.container, attachment.interface


def _by_value(address: IPInterface) -> tuple[int, int]:
    return address.version, int(address)


def _endpoint(attachment: Attachment) -> Endpoint:
    return Endpoint(mac=attachment.mac, addresses=attachment.addresses, container=attachment.container,
                    interface=attachment.interface, peer=None, labels=attachment.labels)


def _row_key(attachment: Attachment) -> bytes:
    return f"{attachment.container}\0{attachment.interface}".encode()


def _encode(attachment: Attachment) -> bytes:
    return pack({
        "container": attachment.container, "interface": attachment.interface, "mac": attachment.mac,
        "addresses": [str(address) for address in attachment.addresses], "mtu": attachment.mtu,
        "netns": None if attachment.netns is None else str(attachment.netns), "fqdns": list(attachment.fqdns),
        "labels": dict(attachment.labels),
    })


def _decode(row: bytes) -> Attachment:
    try:
        body = expect_map(unpack(row), "an attachment")
        netns, mtu = body.get("netns"), body.get("mtu")
        return Attachment(
            container=expect_str(body.get("container"), "container"),
            interface=expect_str(body.get("interface"), "interface"),
            mac=expect_str(body.get("mac"), "mac"),
            addresses=tuple(parse_interface(expect_str(item, "address"))
                            for item in expect_list(body.get("addresses"), "addresses")),
            mtu=mtu if isinstance(mtu, int) else 0,
            netns=Path(netns) if isinstance(netns, str) else None,
            fqdns=tuple(expect_str(item, "name") for item in expect_list(body.get("fqdns"), "names")),
            labels=check_labels({expect_str(key, "label"): expect_str(value, "label")
                                 for key, value in expect_map(body.get("labels", {}), "labels").items()}),
        )
    except WeaveError as exc:
        raise LocalError(f"a container's record in the state file is damaged ({exc}); "
                         "restore the file from a backup or run `weave reset`") from exc
