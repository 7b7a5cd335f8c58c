"""Devices, forwarding and firewall of one host: what is wanted of them, and making it so.

Until the router has named the remotes, and then the endpoints, what the kernel has is what is wanted: an earlier
router's entries carry traffic until better is known. Whatever fails or is cancelled marks our memory of the kernel as
stale, and the next change starts by reading it again.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from ipaddress import ip_address, ip_interface

import trio

from weave.addresses import IPAddress, IPNetwork
from weave.errors import EnvironmentFailure
from weave.logs import fields
from weave.net import devices, host, leftovers, limits, sysctl
from weave.net.announcing import announce
from weave.net.firewall import Firewall
from weave.net.forwarding import OCTETS, ForwardingTable
from weave.net.frames import announcement
from weave.net.groups import Membership, Receivers
from weave.net.model import SLEEVE, SLEEVE_VERSION, DatapathConfig, Endpoint, Forwarding, Mac, Packed, Remote, WayState
from weave.net.namespace import run_there, run_there_async
from weave.net.notices import Ours
from weave.net.plan import ForwardingChange, Local, plan_forwarding, want_forwarding
from weave.net.snooping import Snooping
from weave.netlink import messages
from weave.netlink.connection import Netlink
from weave.netlink.readings import Link

log = logging.getLogger("weave.net")

ATTEMPTS = 2
"""A change that does not fit what we remember is tried once more on what is read."""
NOBODY = Local(frozenset(), {}, frozenset())


class Overlay:
    """Own the bridge, the VXLAN devices, the sleeve's TAP device, their forwarding entries and our nftables tables."""

    def __init__(self, config: DatapathConfig, mtu: int, netlink: Netlink, namespace: int | None) -> None:
        self.local = NOBODY
        self.mtu = mtu
        self.bridge = 0
        """Index of the bridge."""
        self.resyncs = 0
        self.device_steps = 0
        self.firewall = Firewall(config, namespace)
        self.table = ForwardingTable(netlink)
        self.snooping = Snooping(netlink, namespace)
        self._config = config
        self._netlink = netlink
        self._namespace = namespace
        self._remotes: tuple[Remote, ...] | None = None
        self._endpoints: tuple[Endpoint, ...] | None = None
        self._receivers: Receivers = {}
        self._ipv6 = True
        """The bridge has IPv6, and takes neighbours of it."""
        self._versions = {4}
        """Of the devices that are wanted."""
        self._former: dict[Packed, Mac] = {}
        """Who had the addresses that nobody has any more, the latest last."""
        self._tunnels: dict[int, int] = {}
        """Indexes of the devices that there are, by version."""
        self._lacking: Mapping[str, EnvironmentFailure] = {}
        """Devices that are wanted and could not be made, and why."""
        self._stale = True
        self._lock = trio.Lock()

    async def open(self) -> None:
        """Take over what is there and complete it."""
        self._versions |= {version for version, name in self._config.tunnels.items()
                           if devices.find(self._netlink, name) is not None}
        await self.firewall.adopt()
        self._remove(leftovers.former_tunnels(host.links(self._netlink), self._config))
        self._settle_devices()
        if self._config.vxlan in self._lacking:
            raise self._lacking[self._config.vxlan]
        self._read()
        self.firewall.subnets = frozenset(
            address.network for address in host.interface_addresses(self._netlink, self.bridge))
        self.firewall.vteps |= {ip_address(vtep) for vtep in self.table.actual.floods}
        await self.firewall.settle()

    def remove_former_bridges(self) -> None:
        """Remove our bridges of other names, with the host's addresses there, once their cables are moved."""
        self._remove(leftovers.former_bridges(host.links(self._netlink), self._config))

    async def reconcile(self, *, listing: bool) -> None:
        """Read everything from the kernel and change what differs from what is wanted; nftables tables if wished."""
        async with self._lock:
            self._settle_devices()
            self._stale = True
            await self._program()
            if listing:
                await self.firewall.look()
            await self.firewall.settle()

    @property
    def ours(self) -> Ours:
        """Return what is ours: devices by index, and the entries that belong to them."""
        return Ours(self.bridge, frozenset(self._tunnels.values()), self.mtu, self.table)

    @property
    def hindrance(self) -> str | None:
        """Return why some peers are not served; None where nothing is in the way."""
        return "; ".join(map(str, self._lacking.values())) or None

    def inherited(self) -> dict[IPAddress, list[Endpoint]]:
        """Return the remote endpoints that the kernel has, by underlay address; hosts without any are there too."""
        actual = self.table.actual
        found: dict[Packed, list[Endpoint]] = {vtep: [] for vtep in actual.floods}
        for mac, vtep in actual.tunnels.items():
            if any(vtep):
                found.setdefault(vtep, []).append(self._inherited_endpoint(mac))
        return {ip_address(vtep): endpoints for vtep, endpoints in found.items()}

    def inherited_sleeve(self) -> list[Endpoint]:
        """Return the remote endpoints that the kernel has behind the sleeve."""
        return [self._inherited_endpoint(mac) for mac, vtep in sorted(self.table.actual.tunnels.items())
                if vtep == SLEEVE]

    def _inherited_endpoint(self, mac: Mac) -> Endpoint:
        addresses = tuple(ip_interface(ip_address(packed)) for packed, owner in self.table.actual.neighbours.items()
                          if owner == mac)
        return Endpoint(mac.hex(":"), addresses, "", "", None)

    def way_to(self, address: IPAddress, mac: str) -> WayState:
        """Return where the kernel sends what is for an address and a MAC; read now, not remembered."""
        table = ForwardingTable(self._netlink)
        table.read(self.bridge, self._tunnels)
        neighbour = table.actual.neighbours.get(Packed(address.packed))
        vtep = table.actual.tunnels.get(Mac(messages.mac_octets(mac)))
        device = None if vtep is None else next(
            name for version, name in self._config.tunnels.items() if OCTETS[version] == len(vtep))
        return WayState(None if neighbour is None else neighbour.hex(":"), device,
                        ip_address(vtep) if vtep and any(vtep) else None)

    async def set_remotes(self, remotes: Sequence[Remote], accepted: Collection[IPAddress] = ()) -> None:
        """Make these the peers; those with an address get, and may send, plain VXLAN.

        Of one named twice, the last counts. VXLAN from `accepted` addresses is let in too, and has a device to come to.
        Peers whose device cannot be made are left out (see `hindrance`); each call tries it again.
        """
        self._remotes = tuple({remote.peer: remote for remote in remotes}.values())
        vteps = frozenset(remote.vtep for remote in self._remotes if remote.vtep is not None)
        async with self._lock:
            needed = set(map(_version, self._remotes)) | {address.version for address in accepted}
            self._versions = needed | {version for version in self._versions
                                       if self._config.tunnels[version] not in self._lacking}
            if self._lacking or needed - self._tunnels.keys():
                self._settle_devices()
            self.firewall.vteps = vteps | frozenset(accepted)
            await self.firewall.settle()
            await self._program()

    async def set_endpoints(self, endpoints: Sequence[Endpoint]) -> None:
        """Make these the interfaces on other hosts."""
        self._endpoints = tuple(endpoints)
        async with self._lock:
            await self._program()

    async def set_receivers(self, receivers: Receivers) -> None:
        """Make these the peers that get what is sent to groups; other groups, and unknown ones, are flooded."""
        if receivers != self._receivers:
            self._receivers = receivers
            async with self._lock:
                await self._program()

    def members(self) -> Membership:
        """Return the groups with members on this host."""
        return self.snooping.look(self.bridge, self._tunnels.values())

    async def set_local(self, local: Local) -> None:
        """Make this what is on our own host; what a peer claims of it is not believed."""
        before, self.local = self.local, local
        async with self._lock:
            actual = self.table.actual
            neighbours = self._bearable(local.neighbours)
            news = sorted((ip, mac) for ip, mac in neighbours.items() if actual.neighbours.get(ip) != mac)
            gone = sorted(ip for ip in before.neighbours.keys() - local.neighbours.keys() if ip in actual.neighbours)
            contested = local.macs & actual.tunnels.keys() or local.own & actual.neighbours.keys()
            if self._stale or contested or (gone and self._endpoints is not None):
                await self._program()
                return
            await self._apply(ForwardingChange(
                neighbours=news, gone_neighbours=[(ip, actual.neighbours[ip]) for ip in gone]))

    async def set_mtu(self, mtu: int) -> None:
        """Make this the MTU of bridge and tunnels."""
        async with self._lock:
            self.mtu = mtu
            self._settle_devices()

    async def set_subnets(self, subnets: frozenset[IPNetwork]) -> None:
        """Make these the subnets that the host has addresses of."""
        async with self._lock:
            self.firewall.subnets = subnets
            await self.firewall.settle()

    async def set_masqueraded(self, subnets: frozenset[IPNetwork]) -> None:
        """Make these the subnets that borrow the host's address."""
        async with self._lock:
            self.firewall.masqueraded = subnets
            await self.firewall.settle()

    async def keep_sources(self, local: frozenset[IPAddress] | None) -> None:
        """Make these the containers that see who really sends to them; None: masquerading makes no exception."""
        async with self._lock:
            self.firewall.local = local
            await self.firewall.settle()

    async def wipe(self) -> None:
        """Remove devices and tables."""
        async with self._lock:
            found = host.links(self._netlink)
            self._remove(leftovers.former_tunnels(found, self._config))
            self._remove([link for name in self._config.devices for link in found if link.name == name])
            self.remove_former_bridges()
            await self.firewall.wipe()

    def _remove(self, links: Sequence[Link]) -> None:
        for link in links:
            self._netlink.run([messages.delete_link(link.index)], f"remove {link.name}")
            log.info("device removed", extra=fields(device=link.name))

    def _settle_devices(self) -> None:
        ipv6 = self.mtu >= limits.MIN_MTU_V6 and sysctl.has_ipv6()
        wanted = devices.wishes(self._config, self.mtu, self._versions, ipv6=ipv6)
        settled = devices.reconcile(wanted, self._netlink, self._namespace)
        if settled.steps:
            self.device_steps += settled.steps
            log.info("devices set up", extra=fields(bridge=self._config.bridge, steps=settled.steps, mtu=self.mtu))
        for name, failure in settled.lacking.items():
            if str(failure) != str(self._lacking.get(name)):
                log.error("a device is lacking; peers that need it are not served", extra=fields(
                    device=name, reason=failure))
        links, self._lacking = settled.links, settled.lacking
        self.bridge = links[self._config.bridge].index
        tunnels = {version: links[name].index for version, name in self._config.tunnels.items() if name in links}
        if tunnels != self._tunnels:
            self._tunnels, self._stale = tunnels, True
        try:
            ipv6 = run_there(self._namespace, lambda: sysctl.prepare(self._config.bridge, ipv6=self._config.ipv6))
        except OSError as exc:
            raise EnvironmentFailure(f"cannot write {exc.filename}: {exc.strerror}; mount /proc/sys writable for the "
                                     "router") from exc
        if ipv6 != self._ipv6:
            self._ipv6, self._stale = ipv6, True

    def _read(self) -> None:
        self.table.read(self.bridge, self._tunnels)
        self._stale = False

    def _wanted(self) -> Forwarding:
        actual = self.table.actual
        remotes = (None if self._remotes is None
                   else [remote for remote in self._remotes if _version(remote) in self._tunnels])
        if remotes is not None and self._endpoints is not None:
            wanted = want_forwarding(remotes, self._endpoints, self.local, self._receivers)
            return replace(wanted, neighbours=self._bearable(wanted.neighbours))
        floods = (actual.floods if remotes is None
                  else frozenset(Packed(remote.vtep.packed) for remote in remotes if remote.vtep is not None))
        tunnels = {mac: vtep for mac, vtep in actual.tunnels.items() if mac not in self.local.macs}
        kept = {ip: mac for ip, mac in actual.neighbours.items() if ip not in self.local.own}
        return Forwarding(floods, tunnels, self._bearable({**kept, **self.local.neighbours}))

    def _bearable(self, neighbours: Mapping[Packed, Mac]) -> Mapping[Packed, Mac]:
        """Return those that the bridge takes."""
        if self._ipv6:
            return neighbours
        return {ip: mac for ip, mac in neighbours.items() if len(ip) == messages.IPV4_OCTETS}

    async def _program(self) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if attempt > 1:
                    self._settle_devices()
                if self._stale:
                    self.resyncs += 1
                    self._read()
                await self._apply(plan_forwarding(self._wanted(), self.table.actual))
            except EnvironmentFailure as exc:
                if attempt == ATTEMPTS:
                    raise
                log.warning("forwarding changed under us; reading it again", extra=fields(reason=exc))
            else:
                return

    async def _apply(self, change: ForwardingChange) -> None:
        if not change:
            return
        moved = self._moved(change)
        self._stale = True
        for _ in self.table.apply(change):
            await trio.lowlevel.checkpoint()
        self._stale = False
        if moved and self.local.neighbours:
            await run_there_async(self._namespace, partial(announce, self._config.bridge, moved))

    def _moved(self, change: ForwardingChange) -> list[bytes]:
        """Return the frames that tell our containers which known addresses now belong to another MAC.

        An announcement on another host does not reach them, for the kernel answers for remote addresses itself.
        """
        known = self.table.actual.neighbours
        frames = [announcement(mac, ip) for ip, mac in change.neighbours
                  if known.get(ip, self._former.pop(ip, mac)) != mac and ip not in self.local.neighbours]
        self._former.update(change.gone_neighbours)
        while len(self._former) > limits.FORMER_NEIGHBOURS:
            del self._former[next(iter(self._former))]
        return frames


def _version(remote: Remote) -> int:
    """Return which of the devices leads to a peer."""
    return SLEEVE_VERSION if remote.vtep is None else remote.vtep.version
