"""The host's own addresses on the segment: on the bridge, with or without lending them to the rest of the world."""

import errno
import logging
from collections.abc import Collection
from functools import partial

from weave.addresses import IPInterface
from weave.errors import EnvironmentFailure
from weave.logs import fields
from weave.net import host, naming, sysctl
from weave.net.announcing import announce
from weave.net.frames import announcement
from weave.net.model import DatapathConfig, Packed, in_order
from weave.net.namespace import run_there, run_there_async
from weave.net.overlay import Overlay
from weave.netlink import messages
from weave.netlink.connection import Netlink, NetlinkFailure

log = logging.getLogger("weave.net")


class Exposure:
    """Own the addresses of the bridge."""

    def __init__(self, config: DatapathConfig, overlay: Overlay, netlink: Netlink, where: int | None) -> None:
        self._config = config
        self._overlay = overlay
        self._netlink = netlink
        self._namespace = where
        self._addresses: set[IPInterface] = set()
        self._lent: set[IPInterface] = set()
        """Those whose subnets are masqueraded for their sake."""

    @property
    def own(self) -> frozenset[Packed]:
        """Return the addresses of the bridge."""
        return frozenset(Packed(item.packed) for item in self._addresses)

    @property
    def addresses(self) -> list[IPInterface]:
        """Return the addresses of the bridge that are ours; others may have given it more."""
        return list(in_order(self._addresses))

    def adopt(self) -> None:
        """Take over the addresses that the bridge has, until `restore` says which of them are ours."""
        self._addresses = set(host.interface_addresses(self._netlink, self._overlay.bridge))

    def settle(self) -> None:
        """Give the bridge the addresses it lacks."""
        lacking = sorted(self._addresses - set(host.interface_addresses(self._netlink, self._overlay.bridge)))
        self._add(lacking)

    async def restore(self, interfaces: Collection[IPInterface], lent: Collection[IPInterface]) -> None:
        """Own these addresses and no others, and have the subnets of those that are lent masqueraded, as before."""
        lacking = sorted(set(interfaces) - self._addresses)
        self._lent = set(lent)
        self._addresses = set(interfaces)
        await self._tell_subnets(self._addresses)
        self._add(lacking)
        await self._lend()
        await self._announce(lacking)

    async def add(self, interface: IPInterface) -> bool:
        """Give the bridge an address; say whether that was new."""
        if interface in self._addresses:
            return False
        await self._tell_subnets({*self._addresses, interface})
        self._add([interface])
        self._addresses.add(interface)
        await self._announce([interface])
        return True

    async def _announce(self, interfaces: Collection[IPInterface]) -> None:
        mac = messages.mac_octets(naming.bridge_mac(self._config.peer))
        frames = [announcement(mac, interface.packed) for interface in interfaces]
        if frames:
            await run_there_async(self._namespace, partial(announce, self._config.bridge, frames))

    async def remove(self, interface: IPInterface) -> bool:
        """Take an address from the bridge; say whether it had it."""
        known = interface in self._addresses
        self._addresses.discard(interface)
        self._netlink.attempt([messages.delete_address(self._overlay.bridge, interface)])
        await self._tell_subnets(self._addresses)
        return known

    async def masquerade(self, interface: IPInterface, *, wanted: bool) -> None:
        """Lend the host's addresses to the subnet of an address, or end that where no other address wants it."""
        if wanted:
            self._lent.add(interface)
        else:
            self._lent.discard(interface)
        await self._lend()

    async def _lend(self) -> None:
        """Masquerade the subnets of what is lent, and no others."""
        before, after = self._overlay.firewall.masqueraded, frozenset(item.network for item in self._lent)
        if after == before:
            return
        await self._overlay.set_masqueraded(after)
        new = sorted(after - before, key=str)
        if any(subnet.version == 4 for subnet in new):
            self._forward_packets()
        for subnet in new:
            if subnet.version == 6:
                log.info("IPv6 forwarding is left as it is: switching it on makes a host ignore the routers of its own "
                         "network; set net.ipv6.conf.all.forwarding=1 where that is fine", extra=fields(subnet=subnet))

    async def _tell_subnets(self, addresses: Collection[IPInterface]) -> None:
        await self._overlay.set_subnets(frozenset(address.network for address in addresses))

    def _forward_packets(self) -> None:
        try:
            if run_there(self._namespace, sysctl.enable_forwarding):
                log.info("IPv4 forwarding switched on, for exposed subnets", extra=fields(bridge=self._config.bridge))
        except OSError as exc:
            raise EnvironmentFailure(f"cannot switch on IPv4 forwarding: {exc.strerror}; "
                                     "set net.ipv4.ip_forward=1 by hand") from exc

    def _add(self, interfaces: list[IPInterface]) -> None:
        batch = [messages.add_address(self._overlay.bridge, item) for item in interfaces]
        for refusal in self._netlink.attempt(batch):
            if refusal.code != errno.EEXIST:
                raise NetlinkFailure(f"give {interfaces[refusal.index]} to the bridge", refusal.code, refusal.reason)
