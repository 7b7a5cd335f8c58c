"""The face of the kernel's side of one host.

Wanted state lives here, real state in the kernel; every call computes the difference and applies it, so that doing a
thing twice changes nothing. Closing leaves everything as it is: containers keep talking while the router is away, and
the next router adopts what it finds.

Attachments run beside the rest, each on a thread inside its container's namespace; two calls for one interface of a
container must not overlap (their caller lets one through at a time).
"""

import logging
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from types import MappingProxyType

import trio

from weave.addresses import IPAddress, IPInterface, IPNetwork
from weave.errors import EnvironmentFailure
from weave.logs import fields
from weave.net import admission, devices, host, limits, naming, nft, sysctl
from weave.net.cables import Cables
from weave.net.exposure import Exposure
from weave.net.groups import Membership, Receivers
from weave.net.model import (
    Attachment,
    AttachRequest,
    BridgeState,
    DatapathConfig,
    Endpoint,
    Grant,
    InsideState,
    Mac,
    Remote,
    WayState,
)
from weave.net.namespace import run_there
from weave.net.overlay import Overlay
from weave.net.plan import Local
from weave.net.port_guard import port_of
from weave.net.port_guarding import PortGuard
from weave.net.shaping import Limit
from weave.net.watching import Watch
from weave.netlink import messages
from weave.netlink.connection import Netlink
from weave.netlink.constants import NETLINK_NETFILTER
from weave.netlink.nftables import get_generation, read_generation

log = logging.getLogger("weave.net")


class Datapath:
    """Own everything of ours in the kernel of one host."""

    def __init__(self, config: DatapathConfig, netlink: Netlink, netfilter: Netlink, carries: int, mtu: int,
                 where: int | None, grants: Mapping[tuple[str, str], Grant]) -> None:
        self.carries = carries
        """The largest MTU of the segment that this host's underlay bears, or its operator allows."""
        self._config = config
        self._netlink = netlink
        self._netfilter = netfilter
        self._namespace = where
        self._overlay = Overlay(config, mtu, netlink, where)
        self._guard = PortGuard(netfilter, where, enabled=config.guard_sources)
        self._cables = Cables(config, mtu, netlink, where, self._guard, grants)
        self._exposure = Exposure(config, self._overlay, netlink, where)
        self._watch = Watch(where, lambda: self._overlay.ours)
        self._came = trio.Event()
        """Set when a container came for which the bridge does not answer yet."""
        self._is_tended = False
        self._foreign = self._foreign_changes()
        """Before the tables were last listed."""
        self._counts_asked = False
        self._underlay: tuple[float, tuple[IPAddress, ...]] | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, config: DatapathConfig, *, netns: int | None = None,
                   grants: Mapping[tuple[str, str], Grant] = MappingProxyType({})) -> AsyncIterator["Datapath"]:
        """Take over what an earlier router left in the kernel, and complete it.

        `grants` is what containers, by container and interface, were given: a container may have taken more since. Of
        others, all that is known is what they have.

        Works in the network namespace of the calling thread, or in that of the descriptor `netns`, which must stay
        open. What can be missing on a host (rights, kernel features, `nft`) is an `EnvironmentFailure` here.
        """
        nft.require_nft(elsewhere=netns is not None)
        with (run_there(netns, Netlink) as netlink,
              run_there(netns, lambda: Netlink(NETLINK_NETFILTER)) as netfilter):
            carries = mtu = max(config.mtu or host.segment_mtu(netlink, config), config.least_mtu)
            if not config.mtu:
                bridge = devices.find(netlink, config.bridge)
                mtu = carries if bridge is None else min(carries, max(bridge.mtu, config.least_mtu))
            datapath = cls(config, netlink, netfilter, carries, mtu, netns, grants)
            with closing(datapath._cables), closing(datapath._watch), closing(datapath._overlay.snooping):
                await datapath._adopt()
                yield datapath

    async def _adopt(self) -> None:
        await self._overlay.open()
        self._exposure.adopt()
        self._cables.settle(self._overlay.bridge)
        self._overlay.remove_former_bridges()
        found = self._cables.look(adopting=True)
        self._guard.adopt(map(port_of, found))
        await self._guard.settle()
        await self._tell_local()
        log.info("datapath open", extra=fields(bridge=self._config.bridge, mtu=self.mtu, containers=len(found)))

    @property
    def mtu(self) -> int:
        """Return the MTU of the segment: of the bridge and, unless asked otherwise, of containers."""
        return self._overlay.mtu

    @property
    def least_mtu(self) -> int:
        """Return what the MTU of the segment never falls below."""
        return self._config.least_mtu

    @property
    def underlay_mtu(self) -> int:
        """Return the MTU of the devices that our traffic leaves by."""
        return host.underlay_mtu(self._netlink, self._config.devices)

    @property
    def largest_payload(self) -> int:
        """Return the size of the largest UDP payload that those devices carry in one piece."""
        return host.largest_payload(self._netlink, self._config.devices)

    @property
    def bridge_mac(self) -> str:
        """Return the MAC of the bridge, behind which the host's own addresses are."""
        return naming.bridge_mac(self._config.peer)

    # The other hosts

    async def reconcile(self, *, listing: bool = True) -> None:
        """Read everything of ours from the kernel and repair what differs from what is wanted.

        Without `listing`, nftables tables are not listed, which costs a run of `nft` each, where nobody else changed
        any table, or asked for what is counted in them, since the last time.
        """
        self._underlay = None
        foreign = self._foreign_changes()
        listing = listing or self._counts_asked or foreign != self._foreign
        await self._overlay.reconcile(listing=listing)
        self._exposure.settle()
        self._cables.settle(self._overlay.bridge)
        self._cables.look()
        if self._cables.exceed():
            await self._cables.set_mtu(self.mtu)
        if listing:
            await self._guard.settle()
            self._foreign, self._counts_asked = foreign, False
        await self._tell_local()

    async def links_changed(self) -> None:
        """Return once a device of this host came, went or changed since the last time; while `damage` is awaited."""
        await self._watch.links_changed()

    async def damage(self) -> None:
        """Return once somebody removed or switched off something of ours: time to reconcile."""
        await self._watch.damage()

    async def set_remotes(self, remotes: Sequence[Remote], accepted: Collection[IPAddress] = ()) -> None:
        """Make these the peers: broadcasts go to them, nobody else gets in.

        Plain VXLAN is exchanged with those that have an address; what is for the others leaves by the sleeve's device.
        From `accepted` addresses VXLAN is let in though it does not go there: their end may switch before ours.
        """
        await self._overlay.set_remotes(remotes, accepted)

    async def set_endpoints(self, endpoints: Sequence[Endpoint]) -> None:
        """Make these the interfaces on other hosts; one whose peer is no remote gets no entry."""
        await self._overlay.set_endpoints(endpoints)

    async def set_receivers(self, receivers: Receivers) -> None:
        """Make these the peers that get what is sent to these multicast groups, by MAC; all others are flooded.

        Of peers reached through the sleeve nothing is held back.
        """
        await self._overlay.set_receivers(receivers)

    def members(self) -> Membership:
        """Return the multicast groups with members on this host."""
        return self._overlay.members()

    async def members_changed(self) -> None:
        """Return once `members` may be different."""
        await self._overlay.snooping.changed()

    @property
    def hindrance(self) -> str | None:
        """Return why some of the peers are not served, for want of a device; `set_remotes` tries again."""
        return self._overlay.hindrance

    def inherited(self) -> dict[IPAddress, list[Endpoint]]:
        """Return the endpoints that an earlier router left in the kernel, by the underlay address of their host.

        To be asked before the remotes are named. Their addresses come without the prefix length.
        """
        return self._overlay.inherited()

    def inherited_sleeve(self) -> list[Endpoint]:
        """Return the endpoints that an earlier router left behind the sleeve; to be asked at the same time."""
        return self._overlay.inherited_sleeve()

    def underlay_addresses(self) -> tuple[IPAddress, ...]:
        """Return the addresses other hosts may reach us at, the likeliest first; believed for some seconds."""
        now = trio.current_time()
        if self._underlay is None or self._underlay[0] < now:
            self._underlay = now + limits.UNDERLAY_CACHE_S, host.underlay_addresses(self._netlink, self._config)
        return self._underlay[1]

    def routes_into(self, network: IPNetwork) -> list[IPNetwork]:
        """Return the host's other routes into a network that is meant for containers."""
        return host.routes_into(self._netlink, network, self._config.bridge)

    async def set_mtu(self, mtu: int) -> None:
        """Make this the MTU of the segment, and of the containers that follow it; at any time wide before narrow."""
        if mtu > self.mtu:
            await self._overlay.set_mtu(mtu)
            await self._cables.set_mtu(mtu)
        elif mtu < self.mtu:
            await self._cables.set_mtu(mtu)
            await self._overlay.set_mtu(mtu)

    # Containers

    async def attach(self, request: AttachRequest) -> Attachment:
        """Put a container on the bridge; asked again, add what it lacks. On failure all is as it was before.

        Once begun it is not cancelled: the caller learns the outcome and undoes it.
        """
        attachment = await self._cables.attach(request, self._overlay.bridge)
        if self._is_tended:
            self._came.set()
        else:
            await self._tell_local_whatever_happens()
        return attachment

    async def tend(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Have the bridge answer for new containers, until cancelled: a moment after `attach`, whose caller waits."""
        self._is_tended = True
        task_status.started()
        try:
            while True:
                await self._came.wait()
                await trio.sleep(limits.NEWCOMERS_GATHER_S)
                self._came = trio.Event()
                await self._tell_local_whatever_happens()
        finally:
            self._is_tended = False

    def decide(self, request: AttachRequest) -> tuple[str, int]:
        """Return the MAC and MTU that a new interface will have; refuse what cannot be."""
        return self._cables.decide(request)

    async def detach(self, container: str, interface: str) -> None:
        """Take a container's interface off the bridge; one that is gone already is no failure."""
        await self._cables.detach(container, interface)
        await self._tell_local_whatever_happens()

    async def remove_addresses(self, container: str, interface: str, netns: Path | int | None,
                               addresses: Sequence[IPInterface]) -> None:
        """Take addresses from a container that stays on the bridge; those it lacks are no failure."""
        await self._cables.remove_addresses(container, interface, netns, addresses)
        await self._tell_local_whatever_happens()

    async def attachments(self) -> list[Attachment]:
        """Return the containers whose cables are there, with what they were given, by container and interface."""
        found = self._cables.look()
        await trio.lowlevel.checkpoint()
        return found

    async def inspect(self, container: str, interface: str, netns: Path) -> InsideState | None:
        """Return a container's interface as the kernel has it; None where it is not there."""
        return await self._cables.inspect(container, interface, netns, self._overlay.bridge)

    def host_end(self, container: str, interface: str) -> tuple[str, str]:
        """Return name and MAC that the host's end of a new cable gets."""
        return self._cables.host_end(container, interface)

    async def shape(self, container: str, interface: str, netns: Path, *, to_container: Limit,
                    from_container: Limit) -> None:
        """Limit how fast a container receives and sends."""
        await self._cables.shape(container, interface, netns, (to_container, from_container))

    def are_admitted(self, addresses: Sequence[IPAddress]) -> bool:
        """Say whether the policy controller lets these addresses in, or there is none."""
        return admission.are_admitted(self._netfilter, addresses)

    # The host itself

    def bridge_addresses(self) -> list[IPInterface]:
        """Return the addresses of the bridge that are ours; before `restore_exposed`, all that it has."""
        return self._exposure.addresses

    async def add_bridge_address(self, interface: IPInterface) -> None:
        """Give the bridge an address, for the containers of this host and for the host itself."""
        if await self._exposure.add(interface):
            await self._tell_local()

    async def remove_bridge_address(self, interface: IPInterface) -> None:
        """Take an address from the bridge; one it lacks is no failure."""
        if await self._exposure.remove(interface):
            await self._tell_local()

    async def restore_exposed(self, interfaces: Collection[IPInterface], lent: Collection[IPInterface]) -> None:
        """Expose the host at these addresses, the `lent` ones with masquerading, as an earlier router did.

        What else the bridge has is not ours, and stays.
        """
        await self._exposure.restore(interfaces, lent)
        await self._tell_local()

    async def expose(self, interface: IPInterface, *, masquerade: bool = True) -> None:
        """Give the host an address on the segment and, if wished, lend its others to the subnet (NAT).

        The subnet is masqueraded as long as an address of the host wants it.
        """
        await self.add_bridge_address(interface)
        await self._exposure.masquerade(interface, wanted=masquerade)

    async def hide(self, interface: IPInterface) -> None:
        """Undo `expose`."""
        await self._exposure.masquerade(interface, wanted=False)
        await self.remove_bridge_address(interface)

    async def keep_sources(self, *, wanted: bool) -> None:
        """Let the containers of this host, as they are now, see their clients' addresses; to be repeated for new ones.

        Masquerading otherwise hides who sends from outside, because containers elsewhere could not answer them.
        """
        local = frozenset(item.ip for found in self._cables.known() for item in found.addresses)
        await self._overlay.keep_sources(local if wanted else None)

    async def wipe(self) -> None:
        """Remove everything that is ours from the kernel; the datapath is of no use afterwards."""
        for attachment in self._cables.look():
            await self._cables.detach(attachment.container, attachment.interface)
        await self._guard.wipe()
        await self._overlay.wipe()

    # Looking

    def way_to(self, address: IPAddress, mac: str) -> WayState:
        """Return where the kernel sends what is for an address, and for the MAC behind which it is."""
        return self._overlay.way_to(address, mac)

    def bridge_state(self) -> BridgeState:
        """Return the bridge as the kernel has it."""
        link = host.link_at(self._netlink, self._overlay.bridge)
        return BridgeState(link.name, link.mac, link.mtu,
                           tuple(host.interface_addresses(self._netlink, link.index)),
                           run_there(self._namespace, sysctl.bridge_is_filtered))

    def counters(self) -> Mapping[str, int]:
        """Return what is counted, by names fit for metrics; the drops as of a former look, and the next one counts."""
        self._counts_asked = True
        actual = self._overlay.table.actual
        return {
            "attached_total": self._cables.made,
            "detached_total": self._cables.removed,
            "netlink_messages_total": self._netlink.sent,
            "netlink_refused_total": self._netlink.refused,
            "forwarding_resyncs_total": self._overlay.resyncs,
            "device_steps_total": self._overlay.device_steps,
            "firewall_changes_total": self._overlay.firewall.changes,
            "guard_dropped_total": self._overlay.firewall.dropped,
            "source_guard_dropped_total": self._guard.dropped,
            "remote_endpoints": len(actual.tunnels),
            "remote_hosts": len(actual.floods),
            "pruned_groups": len({mac for mac, _ in actual.copies}),
            "neighbours": len(actual.neighbours),
        }

    def _foreign_changes(self) -> int:
        """Return a number that others' changes of nftables tables alter, and ours do not."""
        answer = self._netfilter.query(get_generation(), "ask nf_tables, which the kernel may lack, for changes")
        return read_generation(answer) - self._overlay.firewall.changes - self._guard.changes

    async def _tell_local(self) -> None:
        macs, neighbours = self._cables.local()
        bridge = Mac(messages.mac_octets(self.bridge_mac))
        await self._overlay.set_local(Local(macs | {bridge}, neighbours, self._exposure.own))

    async def _tell_local_whatever_happens(self) -> None:
        """Note what has happened; where that fails, the next change repairs it: it is not the caller's failure."""
        with trio.CancelScope(shield=True):
            try:
                await self._tell_local()
            except EnvironmentFailure as exc:
                log.warning("local addresses are not answered for yet", extra=fields(reason=exc))
