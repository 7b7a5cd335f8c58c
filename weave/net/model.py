"""What the dataplane is asked for and what it answers: values only."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NewType

from weave.addresses import IPAddress, IPInterface, IPNetwork
from weave.names import PeerName
from weave.net import limits

Mac = NewType("Mac", bytes)
"""Six octets, as on the wire."""
Packed = NewType("Packed", bytes)
"""An address as on the wire, 4 octets or 16. They come by the thousand, and an `ipaddress` object costs 1 µs."""
WIREGUARD_DEVICE = "weave-wg"
SLEEVE = Packed(b"")
"""Stands for the way through the sleeve, which needs no underlay address of the kernel."""
SLEEVE_VERSION = 0
"""Stands for the sleeve where others have the family of their underlay: 4 or 6."""
DEFAULT_INTERFACE = "ethwe"
DEFAULT_BRIDGE = "weave"


@dataclass(frozen=True, slots=True)
class DatapathConfig:
    """How this host's part of the segment looks."""

    peer: PeerName
    """Also the MAC of the bridge."""
    bridge: str = DEFAULT_BRIDGE
    sleeve: str = "weave-sleeve"
    """The TAP device for peers reached through the sleeve, made when the first one comes."""
    vni: int = 6784
    port: int = 6784
    advertise: tuple[IPAddress, ...] = ()
    """Where peers are told to reach us; none: where they can."""
    sealing: int = 0
    """Octets that encryption may add to a VXLAN packet over IPv4: by so much the MTU is smaller."""
    mtu: int | None = None
    """Of bridge and containers; None: what the underlay carries, less the VXLAN overhead."""

    ipv6: bool = False
    """Containers get IPv6 addresses: the bridge has IPv6, whatever the host's settings are, and an MTU that lets it."""
    route_subnets: bool = False
    """Let the host pass packets between the subnets that it has addresses of."""
    guard_sources: bool = True
    """Drop what a container sends from a MAC or an address that is not its own."""

    @property
    def least_mtu(self) -> int:
        """The MTU on the smallest underlay; a packet of VXLAN over IPv4 travels in pieces there."""
        return limits.MIN_MTU_V6 if self.ipv6 else limits.MIN_MTU

    @property
    def vxlan(self) -> str:
        """Name of the VXLAN device for peers with an IPv4 underlay address."""
        return f"vxlan-{self.port}"

    @property
    def vxlan6(self) -> str:
        """Name of the VXLAN device for peers with an IPv6 underlay address, made when the first one comes."""
        return f"vxlan6-{self.port}"

    @property
    def tunnels(self) -> dict[int, str]:
        """Names of the devices towards peers, by family of the underlay."""
        return {4: self.vxlan, 6: self.vxlan6, SLEEVE_VERSION: self.sleeve}

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices that are ours, but for cables."""
        return *self.tunnels.values(), WIREGUARD_DEVICE, self.bridge


@dataclass(frozen=True, slots=True)
class Remote:
    """A peer that container traffic is exchanged with."""

    peer: PeerName
    vtep: IPAddress | None
    """The underlay address that plain VXLAN may be sent to; None: everything goes through the sleeve."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An interface on the segment, and the host that it is on."""

    mac: str
    addresses: tuple[IPInterface, ...]
    container: str
    interface: str
    peer: PeerName | None
    """None: nobody has said yet, or this host."""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Route:
    """A route to be set inside a container; without a gateway the destination is on the link."""

    destination: IPNetwork
    gateway: IPAddress | None = None


@dataclass(frozen=True, slots=True)
class AttachRequest:
    """A container to be put on the bridge."""

    container: str
    netns: Path | int
    """A path, or the id of a process in it."""
    addresses: tuple[IPInterface, ...]
    interface: str = DEFAULT_INTERFACE
    mac: str | None = None
    """None: derived from container, interface and peer, so that it is the same the next time."""
    mtu: int | None = None
    """None: that of the bridge."""
    gateway: IPAddress | None = None
    """Where the default route goes; None: no default route."""
    routes: tuple[Route, ...] = ()
    optional_routes: tuple[Route, ...] = ()
    """Left out where the container has a route to the same destination by another interface."""
    multicast_route: bool = True
    hairpin: bool = True


@dataclass(frozen=True, slots=True)
class Attachment:
    """A container's interface on the bridge: with the MAC and the addresses that it was given."""

    container: str
    interface: str
    mac: str
    addresses: tuple[IPInterface, ...]
    mtu: int
    host_interface: str
    """The end of the cable on the host."""
    left_out: tuple[Route, ...] = ()
    """Of the optional routes."""


def in_order(addresses: Iterable[IPInterface]) -> tuple[IPInterface, ...]:
    """Return addresses, each once, as an attachment lists them."""
    return tuple(sorted(set(addresses), key=lambda item: (item.version, int(item))))


@dataclass(frozen=True, slots=True)
class Grant:
    """What an interface of a container was given, whatever the container made of it since."""

    mac: str
    addresses: tuple[IPInterface, ...]


@dataclass(frozen=True, slots=True)
class InsideState:
    """A container's interface as it is inside, and the host's end of its cable."""

    mac: str
    mtu: int
    is_up: bool
    addresses: frozenset[IPInterface]
    routes: frozenset[Route]
    host_interface: str
    host_mac: str
    on_bridge: bool


@dataclass(frozen=True, slots=True)
class WayState:
    """Where the kernel sends what is for an interface of the segment."""

    neighbour: str | None
    """The MAC that this host itself answers ARP or ND with; None: it asks the wire."""
    device: str | None
    """The device that leads to other hosts by which frames for the MAC leave; None: by none in particular."""
    vtep: IPAddress | None
    """The host that a VXLAN device sends them to; None: to nobody."""


@dataclass(frozen=True, slots=True)
class BridgeState:
    """The bridge as the kernel has it, for `weave status`."""

    name: str
    mac: str
    mtu: int
    addresses: tuple[IPInterface, ...]
    filtered_by_host: bool | None
    """Whether frames between containers pass the host's firewall (`bridge-nf-call-iptables`); None: not built in."""


@dataclass(frozen=True, slots=True)
class Forwarding:
    """Where frames to other hosts go: what is wanted, or what the kernel has."""

    floods: frozenset[Packed]
    """Underlay addresses that get a copy of every broadcast and of frames for unknown MACs."""
    tunnels: Mapping[Mac, Packed]
    """MAC to underlay address, whose family says in which VXLAN device, or to `SLEEVE`."""
    neighbours: Mapping[Packed, Mac]
    """Overlay address to MAC, to answer ARP and ND without asking the wire."""
    copies: frozenset[tuple[Mac, Packed]] = frozenset()
    """MACs of multicast groups, and the underlay addresses that get what is sent to them, instead of all."""
