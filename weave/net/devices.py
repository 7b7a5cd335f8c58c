"""Keep the bridge, its VXLAN devices and the sleeve's TAP device as wanted. Blocking, cold.

    containers ── veth ──┐
    host's addresses ── weave ──┬── vxlan-6784    peers with an IPv4 underlay address
                                ├── vxlan6-6784   peers with an IPv6 one, made when there are any
                                └── weave-sleeve  peers reached through the sleeve, made when there are any

These ports are isolated from each other: a frame that came from a peer never leaves to another peer. The bridge learns
by IGMP and MLD which containers are members of a multicast group, and asks them itself. The host gets all: who looks
for an address that the host has just been given (neighbour discovery is multicast) may be quicker than the report that
tells the bridge of it. Whether a group has members on other hosts is not the bridge's business: all multicast leaves by
the tunnels' ports, and what becomes of it there stands in `forwarding`.
"""

import errno
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial

from weave.errors import EnvironmentFailure
from weave.net import limits, naming
from weave.net.model import DEFAULT_BRIDGE, SLEEVE_VERSION, DatapathConfig
from weave.net.namespace import run_there
from weave.net.plan import Alter, Create, Device, DeviceStep, DeviceWish, Foreign, Remove, plan_devices
from weave.net.sleeve import tap
from weave.netlink import constants as nl
from weave.netlink import messages
from weave.netlink.codec import Message
from weave.netlink.connection import Netlink, NetlinkFailure
from weave.netlink.readings import Link, read_link

TAP_KIND = "tun"
"""As the kernel calls the kind of a TAP device."""
_ON, _OFF, _ALWAYS = b"\1", b"\0", b"\2"
_UNSPECIFIED = bytes(16)

BRIDGE_OPTIONS = {
    nl.IFLA_BR_STP_STATE: bytes(4),
    nl.IFLA_BR_MCAST_ROUTER: _ALWAYS,
    nl.IFLA_BR_MCAST_SNOOPING: _ON,
    nl.IFLA_BR_MCAST_QUERIER: _ON,
    nl.IFLA_BR_MCAST_MEMBERSHIP_INTVL: limits.MEMBERSHIP_TIMEOUT_CS.to_bytes(8, sys.byteorder),
}
TUNNEL_PORT = {
    nl.IFLA_BRPORT_MODE: _OFF,
    nl.IFLA_BRPORT_LEARNING: _OFF,
    nl.IFLA_BRPORT_UNICAST_FLOOD: _ON,
    nl.IFLA_BRPORT_MULTICAST_ROUTER: _ALWAYS,
    nl.IFLA_BRPORT_MCAST_FLOOD: _ON,
    nl.IFLA_BRPORT_BCAST_FLOOD: _ON,
    nl.IFLA_BRPORT_NEIGH_SUPPRESS: _ON,
    nl.IFLA_BRPORT_ISOLATED: _ON,
}


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of wishes."""

    links: Mapping[str, Link]
    """The devices that are as wanted, by name."""
    lacking: Mapping[str, EnvironmentFailure]
    """Why the others are not."""
    steps: int


def wishes(config: DatapathConfig, mtu: int, versions: Collection[int], *, ipv6: bool) -> list[DeviceWish]:
    """Return the devices of this host, with one for each family of underlay addresses and one for the sleeve."""
    bridge = DeviceWish(config.bridge, "bridge", naming.bridge_mac(config.peer), mtu, options=BRIDGE_OPTIONS)
    tunnels = [_sleeve(config, mtu, silent=ipv6) if version == SLEEVE_VERSION
               else _tunnel(config, version, mtu, silent=ipv6) for version in sorted(versions)]
    return [bridge, *tunnels]


def _sleeve(config: DatapathConfig, mtu: int, *, silent: bool) -> DeviceWish:
    """Return the TAP device; frames of the segment's MTU are cut to fit by the sleeve itself."""
    return DeviceWish(config.sleeve, TAP_KIND, naming.tunnel_mac(config.sleeve, config.peer), mtu,
                      master=config.bridge, port=TUNNEL_PORT, silent=silent)


def _tunnel(config: DatapathConfig, version: int, mtu: int, *, silent: bool) -> DeviceWish:
    """Return a VXLAN device that learns nothing.

    The kernel's default of not setting DF on IPv4 stays: over an underlay smaller than promised, large frames are
    fragmented and arrive, slowly, instead of vanishing; a sender that sets DF itself is told the smaller MTU. Over IPv6
    nothing is fragmented: there, all but a sender that can be told loses large frames, and the MTU has to be right.
    """
    name = config.tunnels[version]
    birth = {
        nl.IFLA_VXLAN_ID: config.vni.to_bytes(4, sys.byteorder),
        nl.IFLA_VXLAN_PORT: config.port.to_bytes(2),
        nl.IFLA_VXLAN_LEARNING: _OFF,
        nl.IFLA_VXLAN_UDP_CSUM: _OFF,
        nl.IFLA_VXLAN_UDP_ZERO_CSUM6_RX: _ON,
        nl.IFLA_VXLAN_COLLECT_METADATA: _OFF,
    }
    return DeviceWish(
        name, "vxlan", naming.tunnel_mac(name, config.peer), mtu, birth=birth,
        unseen={nl.IFLA_VXLAN_LOCAL6: _UNSPECIFIED} if version == 6 else {},
        master=config.bridge, port=TUNNEL_PORT, silent=silent,
    )


def reconcile(wanted: list[DeviceWish], netlink: Netlink, namespace: int | None) -> Settled:
    """Make the devices as wanted; without a bridge there is nothing, but what goes wrong with one port spoils no other.

    TAP devices are made by a call of their own, in the namespace of that descriptor (None: where we are).
    """
    taken = 0
    ports = {wish.name for wish in wanted if wish.master is not None}
    lacking: dict[str, EnvironmentFailure] = {}
    for _ in range(limits.SETTLE_ROUNDS):
        links = {wish.name: link for wish in wanted if (link := find(netlink, wish.name)) is not None}
        steps = [step for step in plan_devices(wanted, _devices(links)) if _name(step) not in lacking]
        if not steps:
            return Settled({name: link for name, link in links.items() if name not in lacking}, lacking, taken)
        for step in steps:
            try:
                _apply(step, netlink, links, namespace)
            except EnvironmentFailure as exc:
                if _name(step) not in ports:
                    raise
                lacking[_name(step)] = exc
            else:
                taken += 1
    names = ", ".join(wish.name for wish in wanted)
    raise EnvironmentFailure(f"cannot set up {names}: something else keeps changing them; is another network manager "
                             "or another router in this network namespace?")


def find(netlink: Netlink, name: str) -> Link | None:
    """Return the device of that name, or None."""
    try:
        return read_link(netlink.query(messages.get_link(name), f"look up {name}"))
    except NetlinkFailure as exc:
        if exc.code == errno.ENODEV:
            return None
        raise


def _devices(links: Mapping[str, Link]) -> dict[str, Device]:
    names = {link.index: name for name, link in links.items()}
    return {
        name: Device(
            index=link.index, kind=link.kind, mac=link.mac, mtu=link.mtu, is_up=link.is_up,
            master=names.get(link.master, str(link.master)) if link.master else None,
            is_silent=link.address_mode in (None, nl.IN6_ADDR_GEN_MODE_NONE), data=link.data, port=link.port,
        )
        for name, link in links.items()
    }


def _name(step: DeviceStep) -> str:
    return step.wish.name if isinstance(step, Create) else step.name


def _apply(step: DeviceStep, netlink: Netlink, links: Mapping[str, Link], namespace: int | None) -> None:
    match step:
        case Foreign(name, kind, wanted):
            raise EnvironmentFailure(f"cannot make the {wanted} {name}: a device of that name and kind "
                                     f"{kind or 'unknown'} exists; {_way_out(name, wanted)}")
        case Remove(name, index):
            netlink.run([messages.delete_link(index)], f"remove {name}")
        case Create(wish) if wish.kind == TAP_KIND:
            run_there(namespace, partial(tap.make, wish.name))
        case Create(wish):
            data = {**wish.birth, **wish.unseen, **wish.options}
            create = messages.create_link(wish.name, wish.kind, wish.mac, data)
            netlink.run([create], f"make the {wish.kind} {wish.name}")
        case Alter():
            netlink.run(_alterations(step, links), f"set up {step.name}")


def _way_out(name: str, wanted: str) -> str:
    """Say what to do about a device in our way; whose name a person chose may be one that the host needs."""
    other_name = "choose another name with --bridge"
    if wanted != "bridge":
        return f"remove it (ip link delete {name})"
    return f"{other_name}, or remove it (ip link delete {name})" if name == DEFAULT_BRIDGE else other_name


def _alterations(step: Alter, links: Mapping[str, Link]) -> list[Message]:
    """Return the messages of a change; the device comes up last, with all its options set."""
    found: list[Message] = []
    if step.mac is not None:
        found.append(messages.set_mac(step.index, step.mac))
    if step.mtu is not None:
        found.append(messages.set_mtu(step.index, step.mtu))
    if step.options:
        found.append(messages.set_data(step.index, step.kind, step.options))
    if step.silence:
        found.append(messages.set_no_link_local(step.index))
    if step.master is not None and step.master in links:
        found.append(messages.set_master(step.index, links[step.master].index))
    if step.port:
        found.append(messages.set_port(step.index, step.port))
    if step.up:
        found.append(messages.set_up(step.index))
    return found
