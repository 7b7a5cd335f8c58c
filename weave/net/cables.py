"""The containers of this host: their cables, found in the kernel, made and removed."""

import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from weave.addresses import IPInterface
from weave.errors import EnvironmentFailure, LocalError, WeaveError
from weave.logs import fields
from weave.net import attaching, host, limits, naming
from weave.net.attaching import Cable
from weave.net.host import Near
from weave.net.model import Attachment, AttachRequest, DatapathConfig, Grant, InsideState, Mac, Packed, in_order
from weave.net.namespace import OWN, identity, namespace, open_namespace, run_there, run_there_async, visit
from weave.net.port_guard import Port
from weave.net.port_guarding import PortGuard
from weave.net.shaping import Limit
from weave.netlink import messages
from weave.netlink.connection import Netlink

log = logging.getLogger("weave.net")

T = TypeVar("T")
Key = tuple[str, str]
"""Container and interface."""


@dataclass(frozen=True, slots=True)
class _Known:
    index: int
    """Of the host's end: another one under the same name is another cable."""
    attachment: Attachment
    mac: Mac
    packed: tuple[Packed, ...]
    """Its addresses, kept beside it: they are asked for at every change of any container."""

    @classmethod
    def of(cls, index: int, attachment: Attachment) -> "_Known":
        return cls(index, attachment, Mac(messages.mac_octets(attachment.mac)),
                   tuple(Packed(item.packed) for item in attachment.addresses))


class Cables:
    """Own the cables between containers and the bridge."""

    def __init__(self, config: DatapathConfig, mtu: int, netlink: Netlink, where: int | None,
                 guard: PortGuard, grants: Mapping[Key, Grant]) -> None:
        self.made = 0
        self.removed = 0
        self._guard = guard
        self._config = config
        self._mtu = mtu
        self._netlink = netlink
        self._namespace = where
        self._identity = identity(where)
        self._known: dict[Key, _Known] = {}
        self._grants = dict(grants)
        """Of cables that are not known yet."""
        self._turns = trio.Semaphore(limits.KERNEL_JOBS)
        self._sockets = ExitStack()
        self._idle: list[Netlink] = []
        self._home = open_namespace(OWN)
        self._sockets.callback(os.close, self._home)

    def close(self) -> None:
        """Close what is open; the cables stay."""
        self._sockets.close()

    def look(self, *, adopting: bool = False) -> list[Attachment]:
        """Return the containers on the bridge, sorted; those that went are forgotten.

        The kernel says which cables there are, not what is right at their far ends, where the container rules. Only
        `adopting`, what is at the end of a cable of which nothing is known is all that can be had, and is believed.
        """
        known: dict[Key, _Known] = {}
        for near in host.near_ends(self._netlink):
            key = (near.container, near.interface)
            remembered = self._known.get(key)
            if remembered is not None and remembered.index == near.link.index:
                known[key] = remembered
                continue
            found = host.read_attachment(self._netlink, near)
            if found is not None:
                known[key] = _Known.of(near.link.index, self._as_granted(found, adopting=adopting))
        self._known = known
        return [known[key].attachment for key in sorted(known)]

    def _as_granted(self, found: Attachment, *, adopting: bool) -> Attachment:
        unknown = Grant(found.mac, found.addresses if adopting else ())
        grant = self._grants.pop((found.container, found.interface), unknown)
        return replace(found, mac=grant.mac, addresses=grant.addresses)

    def settle(self, bridge: int) -> int:
        """Plug cables in again that fell off the bridge, because it was removed; return how many."""
        fallen = [near for near in host.near_ends(self._netlink) if near.link.master != bridge]
        for near in fallen:
            options = attaching.near_end_options(near.link.mtu, near.link.index)
            batch = [messages.set_master(near.link.index, bridge), *options]
            self._netlink.run(batch, f"plug {near.container} into the bridge again")
        return len(fallen)

    def local(self) -> tuple[frozenset[Mac], dict[Packed, Mac]]:
        """Return the MACs, and the MAC of each address, of the containers we know."""
        known = self._known.values()
        return frozenset(item.mac for item in known), {address: item.mac for item in known for address in item.packed}

    def known(self) -> list[Attachment]:
        """Return the containers on the bridge, as of the last look."""
        return [known.attachment for known in self._known.values()]

    async def attach(self, request: AttachRequest, bridge: int) -> Attachment:
        """Put a container on the bridge, or complete what is there; on failure all is as it was."""
        mac, mtu = self.decide(request)
        before = self._known.get((request.container, request.interface))
        with namespace(request.netns) as descriptor:
            if identity(descriptor) == self._identity:
                raise LocalError(f"{request.netns} is the host's own network namespace, not a container's; "
                                 "a container on the host's network needs no attachment (use `weave expose`)")
            host_mac = self.host_end(request.container, request.interface)[1]
            cable = Cable(request, bridge, mac, host_mac, mtu, descriptor)
            addresses = frozenset(Packed(item.packed) for item in request.addresses)
            is_new = self._guard.admit(Port(cable.host_interface, Mac(messages.mac_octets(mac)), addresses))
            try:
                async with self._socket() as socket:
                    index, attachment = await self._at_once(descriptor, partial(attaching.attach, cable, socket))
            except BaseException:
                if is_new:
                    self._guard.dismiss(cable.host_interface)
                raise
        joined = self._known[request.container, request.interface] = _joined(index, attachment, before)
        self._grants.pop((request.container, request.interface), None)
        self.made += 1
        return joined.attachment

    async def detach(self, container: str, interface: str) -> bool:
        """Take a container off the bridge; say whether it was on it."""
        name = naming.host_interface(container, interface)
        async with self._socket() as socket:
            gone = await run_there_async(None, lambda _: attaching.remove(name, socket))
        # not before: who looks meanwhile finds the cable still, and where it cannot be removed the container stays
        self._known.pop((container, interface), None)
        self._grants.pop((container, interface), None)
        self._guard.dismiss(name)
        self.removed += gone
        return gone

    async def remove_addresses(self, container: str, interface: str, netns: Path | int | None,
                               addresses: Sequence[IPInterface]) -> None:
        """Take addresses from a container that stays; what is gone already is fine."""
        where = netns if netns is not None else self._find_namespace(container, interface)
        if where is not None:
            with namespace(where) as descriptor:
                await run_there_async(descriptor, lambda _: attaching.remove_addresses(interface, addresses))
        self._guard.dismiss(naming.host_interface(container, interface), addresses)
        known = self._known.get((container, interface))
        if known is not None:
            kept = tuple(item for item in known.attachment.addresses if item not in addresses)
            self._known[container, interface] = _Known.of(known.index, replace(known.attachment, addresses=kept))

    def exceed(self) -> bool:
        """Say whether a container has a larger MTU than the segment: it came while that was lowered."""
        return any(known.attachment.mtu > self._mtu for known in self._known.values())

    async def set_mtu(self, mtu: int) -> None:
        """Make this the MTU of the segment: of new interfaces, and of those that follow it.

        A container that cannot be changed is logged and keeps what it has.
        """
        before, self._mtu = self._mtu, mtu
        places = dict(host.namespaces(self._netlink))
        for near in host.near_ends(self._netlink):
            where = places.get(near.link.peer_namespace)
            try:
                if where is None:
                    raise EnvironmentFailure("its network namespace is not found")
                await self._resize(near, where, before)
            except WeaveError as exc:
                log.warning("cannot change the MTU of a container", extra=fields(
                    container=near.container, interface=near.interface, mtu=mtu, reason=exc))

    async def _resize(self, near: Near, where: Path, before: int) -> None:
        with namespace(where) as descriptor:
            async with self._socket() as socket:
                mtu = await run_there_async(descriptor, lambda _: attaching.resize(
                    near.link.name, near.interface, before, self._mtu, socket))
        known = self._known.get((near.container, near.interface))
        if known is not None and mtu is not None:
            self._known[near.container, near.interface] = replace(known, attachment=replace(known.attachment, mtu=mtu))

    async def inspect(self, container: str, interface: str, netns: Path, bridge: int) -> InsideState | None:
        """Return an attachment as the kernel has it; None where it is not there."""
        near = naming.host_interface(container, interface)
        with namespace(netns) as descriptor:
            async with self._socket() as socket:
                return await run_there_async(
                    descriptor, lambda _: attaching.inspect(near, interface, bridge, socket))

    async def shape(self, container: str, interface: str, netns: Path, limits: tuple[Limit, Limit]) -> None:
        """Limit the bandwidth to and from a container."""
        near = naming.host_interface(container, interface)
        with namespace(netns) as descriptor:
            async with self._socket() as socket:
                await run_there_async(descriptor, lambda _: attaching.shape(near, interface, *limits, socket))

    async def _at_once(self, descriptor: int, job: Callable[[ExitStack], T]) -> T:
        """Run a job that the kernel does at once right here, unless others under way may hold its lock for long."""
        if self._turns.value == limits.KERNEL_JOBS - 1:
            return visit(descriptor, self._home, job)
        return await run_there_async(descriptor, job)

    @asynccontextmanager
    async def _socket(self) -> AsyncIterator[Netlink]:
        """Lend one of few sockets of the host's namespace; they are kept, because opening one may take a thread."""
        async with self._turns:
            socket = self._idle.pop() if self._idle else self._sockets.enter_context(
                run_there(self._namespace, Netlink))
            try:
                yield socket
            finally:
                self._idle.append(socket)

    def _find_namespace(self, container: str, interface: str) -> Path | None:
        for near in host.near_ends(self._netlink):
            if (near.container, near.interface) == (container, interface) and near.link.peer_namespace is not None:
                return host.find_namespace(self._netlink, near.link.peer_namespace)
        return None

    def host_end(self, container: str, interface: str) -> tuple[str, str]:
        """Return name and MAC that the host's end of a new cable gets."""
        name = naming.host_interface(container, interface)
        return name, naming.host_mac(name, self._config.peer)

    def decide(self, request: AttachRequest) -> tuple[str, int]:
        """Return the MAC and MTU of an interface, the MAC that it has if it is there; refuse what cannot be."""
        naming.check_container(request.container)
        naming.check_interface(request.interface)
        mtu = request.mtu or self._mtu
        least = limits.MIN_MTU_V6 if any(item.version == 6 for item in request.addresses) else limits.MIN_MTU
        if not least <= mtu <= self._mtu:
            raise LocalError(f"an MTU of {mtu} is not possible here; choose one between {least} and {self._mtu}, which "
                             "is what the underlay of all hosts carries")
        known = self._known.get((request.container, request.interface))
        mac = request.mac or (naming.container_mac(request.container, request.interface, self._config.peer)
                              if known is None else known.attachment.mac)
        return naming.check_mac(mac), mtu


def _joined(index: int, attachment: Attachment, before: _Known | None) -> _Known:
    """Return a cable that is new, or was completed, with what it was given before."""
    if before is not None and before.index == index:
        attachment = replace(attachment, addresses=in_order(
            [*before.attachment.addresses, *attachment.addresses]))
    return _Known.of(index, attachment)
