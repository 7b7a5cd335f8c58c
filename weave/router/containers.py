"""A container joins, a container leaves: address, kernel, names and announcement as one step that undoes itself.

What is attached is remembered in the state file and found again in the kernel, so that a router that returns knows
its containers. The kernel is the judge of what lives: a container whose interface is gone is detached by the sweep,
whoever forgot to say so.
"""

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import trio

from store import Store
from store.changes import Change, Delete, Put
from weave.addresses import IPAddress, IPInterface, parse_interface
from weave.api.control import DEFAULT_INTERFACE, Attachment, AttachSpec, DetachSpec
from weave.api.errors import Conflict, NotFound
from weave.api.wishes import Exactly, Wish
from weave.errors import EnvironmentFailure, LocalError, WeaveError
from weave.ipam import Reservation
from weave.labels import check_labels
from weave.logs import fields
from weave.net import Attachment as Plugged
from weave.net import AttachRequest, Datapath, Endpoint, Grant, Route, in_order
from weave.router.addressing import Addressing, is_wished, refuse_other_lengths, refuse_own
from weave.router.admission import Admission
from weave.router.announce import Announcer
from weave.router.naming import Naming
from weave.router.others import Others
from weave.router.undoing import finishing, together, undoing
from weave.wire import expect_list, expect_map, expect_str, pack, unpack

log = logging.getLogger("weave.containers")

TABLE = "router.containers"
SWEEP_INTERVAL_S = 30.0
"""A look costs a millisecond. The kernel tells of devices that went; this finds what it may have failed to tell."""
SWEEP_GATHERS_S = 2.0
"""How long the address and the name of a container that vanished without a word live on."""


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
                 announcer: Announcer, admission: Admission, others: Others) -> None:
        self._store = store
        self._datapath = datapath
        self._addressing = addressing
        self._naming = naming
        self._announcer = announcer
        self._admission = admission
        self._others = others
        self._attached: dict[tuple[str, str], Attachment] = {}
        self._turnstile = _Turnstile()
        self._orphans: list[Attachment] = []

    def attachments(self) -> list[Attachment]:
        """Return what is attached, sorted by container and interface."""
        return [self._attached[key] for key in sorted(self._attached)]

    async def recover(self) -> None:
        """Find again what was attached in an earlier life and still lives; let go of what does not."""
        remembered = {attachment_key(row): row for row in await _rows(self._store)}
        alive = {(found.container, found.interface): found for found in await self._datapath.attachments()}
        self._attached.update(remembered)
        for key, found in sorted(alive.items()):
            if key in remembered:
                self._announcer.announce(_endpoint(remembered[key]))
            else:
                await self._adopt(Attachment(container=found.container, interface=found.interface, mac=found.mac,
                                             addresses=found.addresses, mtu=found.mtu))
        for key in sorted(remembered.keys() - alive.keys()):
            await self._drop_dead(remembered[key])

    async def _drop_dead(self, row: Attachment) -> None:
        """Let go of an attachment that ended while no router ran; the sweep tries again where that cannot be."""
        try:
            await self._drop(row)
        except EnvironmentFailure as exc:
            log.warning("a container that is gone cannot be forgotten yet", extra=fields(
                container=row.container, interface=row.interface, reason=exc))

    async def _adopt(self, found: Attachment) -> None:
        """Take in a container that runs but is in no record: the state file is newer than it, or was lost."""
        stolen = [address for address in found.addresses if self._is_held_by_another(found, address)]
        if stolen:
            await self._take_away(found, stolen, "another container of this host, or the host, has it")
            found = replace(found, addresses=tuple(item for item in found.addresses if item not in stolen))
        log.warning("container found that is in no record; its addresses are claimed", extra=fields(
            container=found.container, interface=found.interface, addresses=",".join(map(str, found.addresses))))
        await self._record(found)
        self._orphans.append(found)

    async def _record(self, attachment: Attachment) -> None:
        """Make what an attachment is now durable, and known."""
        await self._store.commit([_row_of(attachment)])
        self._attached[attachment_key(attachment)] = attachment
        self._announcer.announce(_endpoint(attachment))

    def _is_held_by_another(self, found: Attachment, address: IPInterface) -> bool:
        """Say whether somebody else on this host has an address, by the allocator or by an attachment."""
        key = attachment_key(found)
        return self._addressing.is_held_by_another(ident_of(*key), address.ip) or any(
            address.ip == held.ip
            for other, attachment in self._attached.items() if other != key for held in attachment.addresses)

    async def _take_away(self, found: Attachment, addresses: Sequence[IPInterface], reason: object) -> None:
        """Take addresses of others from a container that is in no record and has them."""
        log.warning("a container that is in no record has an address of another, which is taken from it", extra=fields(
            container=found.container, interface=found.interface, addresses=",".join(map(str, addresses)),
            reason=reason))
        try:
            await self._datapath.remove_addresses(found.container, found.interface, None, addresses)
        except EnvironmentFailure as exc:
            log.warning("an address cannot be taken from a container", extra=fields(
                container=found.container, reason=exc))

    async def claim_orphans(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Claim the addresses of containers that were found: this may wait for the range to be divided.

        One that another has is taken from them: a container can give itself any address, and no record says otherwise.
        """
        task_status.started()
        for orphan in self._orphans:
            for address in orphan.addresses:
                try:
                    await self._addressing.fulfil(ident_of(*attachment_key(orphan)), Exactly(address))
                    self._others.refuse_address(orphan.container, address.ip)
                except Conflict as exc:
                    await self._disown(orphan, address, exc)
                except WeaveError as exc:
                    log.error("an address runs here that is not ours to give", extra=fields(  # noqa: TRY400
                        container=orphan.container, address=address, reason=exc))

    async def _disown(self, orphan: Attachment, address: IPInterface, reason: Conflict) -> None:
        """Have an address of another no longer be that of a container that was found."""
        async with self._turnstile.pass_through(orphan.container):
            held = self._attached.get(attachment_key(orphan))
            if held is None or address not in held.addresses:
                return
            await self._take_away(orphan, [address], reason)
            await self._record(replace(held, addresses=tuple(item for item in held.addresses if item != address)))

    async def sweep(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Detach containers whose interface vanished, until cancelled."""
        task_status.started()
        while True:
            with trio.move_on_after(SWEEP_INTERVAL_S):
                await self._datapath.links_changed()
            await trio.sleep(SWEEP_GATHERS_S)
            suspects = dict(self._attached)
            try:
                alive = {(found.container, found.interface): found for found in await self._datapath.attachments()}
                self._note_mtus({key: found.mtu for key, found in alive.items()})
                for key in sorted(suspects.keys() - alive.keys()):
                    async with self._turnstile.pass_through(key[0]):
                        if self._attached.get(key) is suspects[key]:
                            log.info("container is gone", extra=fields(container=key[0], interface=key[1]))
                            await self._drop(suspects[key])
            except EnvironmentFailure as exc:
                log.warning("cannot look for containers that are gone", extra=fields(reason=exc))

    def _note_mtus(self, mtus: Mapping[tuple[str, str], int]) -> None:
        """Show of each interface the MTU that it has now; it follows that of the segment."""
        for key, mtu in mtus.items():
            held = self._attached.get(key)
            if held is not None and held.mtu != mtu:
                self._attached[key] = replace(held, mtu=mtu)

    async def attach(self, spec: AttachSpec) -> Attachment:
        """Put a container on the network; undo everything when any step fails, or when nobody waits any more.

        Address and record go to the disk while the kernel works. Nobody learns of the container, its runtime neither,
        before both are done.
        """
        refuse_own(spec.container)
        async with self._turnstile.pass_through(spec.container), undoing() as undo:
            before = await self._present(spec)
            if before is not None:
                _refuse_changes(spec, before)
            reserved = self._reserve(spec, before, undo)
            addresses = [each.decided or await each.settled() for each in reserved]
            gateway = await self._addressing.bridge_address() if spec.default_route or self._naming.enabled else None
            request = _request(spec, before, addresses, gateway)
            planned = self._planned(spec, before, request, gateway)
            if before is None:
                self._refuse_mac_of_another(spec, planned.mac)
            names = self._names(planned)
            cable: list[Plugged] = []
            undo.push_async_callback(self._strike_out, planned, before, names)
            await together(*(each.settled for each in reserved), partial(self._write_down, planned, names),
                           partial(self._plug_in, request, before, cable, undo))
            attachment = replace(planned, mac=cable[0].mac, mtu=cable[0].mtu, addresses=cable[0].addresses,
                                 left_out=tuple(route.destination for route in cable[0].left_out))
            if (attachment.mac, attachment.mtu, attachment.addresses) != (planned.mac, planned.mtu, planned.addresses):
                await self._write_down(attachment, names)
            if before is None:  # another may have come with it meanwhile
                self._refuse_mac_of_another(spec, attachment.mac)
            undo.callback(self._untell, attachment, before, names)
            self._announcer.announce(_endpoint(attachment))
            self._attached[attachment_key(attachment)] = attachment
            self._naming.spread(names)
            await self._admission.wait(attachment.container, [address.ip for address in addresses])
        log.info("attached", extra=fields(container=spec.container, interface=spec.interface, mac=attachment.mac,
                                          addresses=",".join(map(str, attachment.addresses))))
        return replace(attachment, addresses=tuple(addresses))

    async def _present(self, spec: AttachSpec) -> Attachment | None:
        """Return the attachment that is completed; where a new one is asked for, clear away one that is dead."""
        before = self._attached.get((spec.container, spec.interface))
        if before is None or not spec.must_be_new:
            return before
        await self.refuse_living(spec.container, spec.interface)
        await self._drop(before)
        return None

    async def refuse_living(self, container: str, interface: str) -> None:
        """Raise `Conflict` where this interface is on the bridge."""
        key = (container, interface)
        if key in self._attached and any(key == (found.container, found.interface)
                                         for found in await self._datapath.attachments()):
            raise Conflict(f"{interface} of container {container} is attached already; detach it first")

    def _reserve(self, spec: AttachSpec, before: Attachment | None, undo: AsyncExitStack) -> list[Reservation]:
        """Begin to fulfil the wishes; what is new is released again should a later step fail."""
        ident = ident_of(spec.container, spec.interface)
        known = {*self._addressing.lookup(ident, None), *(() if before is None else before.addresses)}
        wishes = self._addressing.expand(spec.wishes)
        refuse_other_lengths(wishes, known)
        reserved = []
        for wish in wishes:
            reserved.append(self._addressing.reserve(ident, wish))
            undo.push_async_callback(self._addressing.forgo, ident, reserved[-1], frozenset(known))
        return reserved

    def _planned(self, spec: AttachSpec, before: Attachment | None, request: AttachRequest,
                 gateway: IPInterface | None) -> Attachment:
        """Return the attachment as it will be; the kernel has the last word where an interface was there before."""
        mac, mtu = self._datapath.decide(request)
        own = () if spec.fqdns or spec.own_fqdn is None else (spec.own_fqdn,)
        names, labels, network = (own, {}, None) if before is None else (before.fqdns, before.labels, before.network)
        return Attachment(
            container=spec.container, interface=spec.interface, mac=mac, addresses=request.addresses, mtu=mtu,
            netns=spec.netns, gateway=gateway.ip if gateway is not None else None,
            fqdns=tuple(sorted({*spec.fqdns, *names})), labels=check_labels({**labels, **spec.labels}),
            network=spec.network or network)

    def _refuse_mac_of_another(self, spec: AttachSpec, mac: str) -> None:
        """Raise `Conflict` where an interface that comes has the MAC of one that is there: nobody would find both.

        Of other hosts, that is asked for a MAC that somebody chose; nobody keeps us from one that is ours.
        """
        if mac == self._datapath.bridge_mac:
            raise Conflict(f"{mac} is the MAC of this host's bridge; choose another with --mac")
        for other, attachment in self._attached.items():
            if attachment.mac == mac and other != (spec.container, spec.interface):
                raise Conflict(f"{mac} is the MAC of {other[1]} of container {other[0]}; choose another with --mac")
        if spec.mac is not None:
            self._others.refuse_mac(mac)

    def _names(self, attachment: Attachment) -> list[Change]:
        return [] if not attachment.fqdns else self._naming.registration(
            attachment.container, attachment.fqdns, [address.ip for address in attachment.addresses])

    async def _write_down(self, attachment: Attachment, names: Sequence[Change]) -> None:
        """Make record and names durable in one write."""
        await self._store.commit([_row_of(attachment), *names])

    async def _strike_out(self, planned: Attachment, before: Attachment | None, names: Sequence[Change]) -> None:
        """Take back what `_write_down` may have written."""
        record = Delete(TABLE, _row_key(planned)) if before is None else _row_of(before)
        await self._store.commit([record, *self._naming.taking_back(names)])

    async def _plug_in(self, request: AttachRequest, before: Attachment | None, cable: list[Plugged],
                       undo: AsyncExitStack) -> None:
        """Make or complete the cable; what is new is removed again should a later step fail."""
        cable.append(await self._datapath.attach(request))
        if before is None:
            undo.push_async_callback(self._datapath.detach, request.container, request.interface)
            return
        new = [address for address in request.addresses if address not in before.addresses]
        undo.push_async_callback(self._datapath.remove_addresses, request.container, request.interface, request.netns,
                                 new)

    def _untell(self, attachment: Attachment, before: Attachment | None, names: Sequence[Change]) -> None:
        """Take back what we and the other peers were told of an attachment."""
        self._naming.spread(self._naming.taking_back(names))
        if before is None:
            self._attached.pop(attachment_key(attachment), None)
            self._announcer.withdraw(attachment.mac, *attachment_key(attachment))
            return
        self._attached[attachment_key(before)] = before
        self._announcer.announce(_endpoint(before))

    async def detach(self, spec: DetachSpec) -> list[IPInterface]:
        """Take a container, or some of its addresses, off the network; return the addresses removed."""
        refuse_own(spec.container)
        async with self._turnstile.pass_through(spec.container):
            removed: list[IPInterface] = []
            for key in sorted(self._attached):
                if key[0] == spec.container and spec.interface in (None, key[1]):
                    removed += await self._detach_one(self._attached[key], spec.wishes)
            if not removed and not spec.wishes:
                await self._clear(spec.container, spec.interface)
            return removed

    async def forget_names(self, container: str | None, fqdn: str | None, address: IPAddress | None) -> None:
        """Have attachments no longer have the names that match all that is given, when they are asked for again."""
        for key in sorted(self._attached):
            if container not in (None, key[0]):
                continue
            async with self._turnstile.pass_through(key[0]):
                attachment = self._attached.get(key)
                if attachment is None or address not in (None, *(item.ip for item in attachment.addresses)):
                    continue
                kept = tuple(name for name in attachment.fqdns if not self._naming.is_meant(name, fqdn))
                if kept != attachment.fqdns:
                    await self._record(replace(attachment, fqdns=kept))

    async def _detach_one(self, attachment: Attachment, wishes: Sequence[Wish]) -> list[IPInterface]:
        removed = [address for address in attachment.addresses
                   if not wishes or is_wished(address, wishes, self._addressing.default_subnets)]
        kept = tuple(address for address in attachment.addresses if address not in removed)
        if kept:
            await self._shrink(attachment, kept, removed)
        else:
            await self._drop(attachment)
        return removed

    async def _shrink(self, attachment: Attachment, kept: tuple[IPInterface, ...],
                      removed: Sequence[IPInterface]) -> None:
        """Take some of its addresses from an attachment, as surely as `_drop` takes all."""
        container, interface = attachment_key(attachment)
        with finishing(f"the removal of addresses from {interface} of container {container}"):
            await self._datapath.remove_addresses(container, interface, attachment.netns, removed)
            for address in dict.fromkeys(item.ip for item in removed):
                if all(address != item.ip for item in kept):
                    await self._release(container, interface, address)
                    await self._naming.remove(container, None, address)
            await self._record(replace(attachment, addresses=kept))

    async def _drop(self, attachment: Attachment) -> None:
        """Forget one attachment everywhere, though whoever asked gives up meanwhile.

        It is known until all is done: one that failed half-way is there to be detached again. With the last interface
        of a container go all its names, also those that were given to it by hand.
        """
        container, interface = attachment_key(attachment)
        with finishing(f"the removal of {interface} of container {container}"):
            await self._datapath.detach(container, interface)
            self._announcer.withdraw(attachment.mac, container, interface)
            await self._release(container, interface)
            is_last = not any(other != (container, interface) for other in self._attached if other[0] == container)
            names = self._naming.removal(
                container, None if is_last else [address.ip for address in attachment.addresses])
            await self._store.commit([Delete(TABLE, _row_key(attachment)), *names])
            self._naming.spread(names)
            self._attached.pop((container, interface), None)

    async def _clear(self, container: str, interface: str | None) -> None:
        """Remove what is left of an attachment that we do not know: one whose undoing failed, or an address alone."""
        with finishing(f"the removal of container {container}"):
            left = {found.interface for found in await self._datapath.attachments()
                    if found.container == container and interface in (None, found.interface)}
            for each in sorted(left):
                await self._datapath.detach(container, each)
            for each in sorted({*left, interface or DEFAULT_INTERFACE}):
                await self._release(container, each)

    async def _release(self, container: str, interface: str, address: IPAddress | None = None) -> None:
        with suppress(NotFound):
            await self._addressing.release(ident_of(container, interface), address)


async def grants_of(store: Store) -> dict[tuple[str, str], Grant]:
    """Return what is recorded of the containers of an earlier life, for the datapath to believe."""
    return {attachment_key(row): Grant(row.mac, row.addresses) for row in await _rows(store)}


async def _rows(store: Store) -> list[Attachment]:
    return [_decode(row) for row in (await store.read(TABLE)).values()]


def attachment_key(attachment: Attachment) -> tuple[str, str]:
    """Return what identifies an attachment on this host."""
    return attachment.container, attachment.interface


def _refuse_changes(spec: AttachSpec, before: Attachment) -> None:
    """Raise `Conflict` for what an interface that is there cannot become."""
    if spec.mac is not None and spec.mac.lower() != before.mac:
        raise Conflict(f"{spec.interface} of container {spec.container} is attached with the MAC {before.mac}; "
                       "detach it first to give it another")
    if spec.mtu is not None and spec.mtu != before.mtu:
        raise Conflict(f"{spec.interface} of container {spec.container} is attached with an MTU of {before.mtu}; "
                       "detach it first to give it another")


def _request(spec: AttachSpec, before: Attachment | None, addresses: Sequence[IPInterface],
             gateway: IPInterface | None) -> AttachRequest:
    """Return what the datapath is asked for: what the container has, and what is new."""
    held = () if before is None else before.addresses
    return AttachRequest(
        container=spec.container, netns=spec.netns, interface=spec.interface,
        addresses=in_order([*held, *addresses]),
        mac=spec.mac if before is None else before.mac, mtu=spec.mtu,
        multicast_route=spec.multicast_route, hairpin=spec.hairpin,
        gateway=gateway.ip if gateway is not None and spec.default_route else None,
        routes=tuple(Route(destination, via) for destination, via in spec.routes),
        optional_routes=tuple(Route(destination, via) for destination, via in spec.optional_routes))


def _endpoint(attachment: Attachment) -> Endpoint:
    return Endpoint(mac=attachment.mac, addresses=attachment.addresses, container=attachment.container,
                    interface=attachment.interface, peer=None, labels=attachment.labels)


def _row_of(attachment: Attachment) -> Put:
    return Put(TABLE, _row_key(attachment), _encode(attachment))


def _row_key(attachment: Attachment) -> bytes:
    return f"{attachment.container}\0{attachment.interface}".encode()


def _encode(attachment: Attachment) -> bytes:
    return pack({
        "container": attachment.container, "interface": attachment.interface, "mac": attachment.mac,
        "addresses": [str(address) for address in attachment.addresses], "mtu": attachment.mtu,
        "netns": None if attachment.netns is None else str(attachment.netns), "fqdns": list(attachment.fqdns),
        "labels": dict(attachment.labels), "network": attachment.network,
    })


def _decode(row: bytes) -> Attachment:
    try:
        body = expect_map(unpack(row), "an attachment")
        netns, mtu, network = body.get("netns"), body.get("mtu"), body.get("network")
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
            network=network if isinstance(network, str) else None,
        )
    except WeaveError as exc:
        raise LocalError(f"a container's record in the state file is damaged ({exc}); "
                         "restore the file from a backup or run `weave reset`") from exc
