"""Decide what to change: wanted state and real state in, steps out. Pure.

Nothing here knows the kernel's messages; the steps are applied in order by `devices`, `forwarding` and `attaching`.
A plan for a state that is as wanted is empty.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from operator import itemgetter
from types import MappingProxyType
from typing import TypeVar

from weave.addresses import IPAddress, IPInterface, IPNetwork
from weave.net.groups import Receivers, copies
from weave.net.model import SLEEVE, AttachRequest, Endpoint, Forwarding, Mac, Packed, Remote, Route

K = TypeVar("K", Mac, Packed)
V = TypeVar("V", Mac, Packed)
MULTICAST = IPv4Network("224.0.0.0/4")
EVERYWHERE: Mapping[int, IPNetwork] = {4: IPv4Network("0.0.0.0/0"), 6: IPv6Network("::/0")}


# Devices

@dataclass(frozen=True, slots=True)
class DeviceWish:
    """A device as it should be; options are raw, by their kernel number."""

    name: str
    kind: str
    mac: str
    mtu: int
    birth: Mapping[int, bytes] = field(default_factory=dict)
    """Options that cannot change: a device that differs is made again."""
    unseen: Mapping[int, bytes] = field(default_factory=dict)
    """Options of birth that the kernel does not show."""
    options: Mapping[int, bytes] = field(default_factory=dict)
    master: str | None = None
    port: Mapping[int, bytes] = field(default_factory=dict)
    silent: bool = False
    """Without an IPv6 address of its own."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device as it is."""

    index: int
    kind: str
    mac: str
    mtu: int
    is_up: bool
    master: str | None
    is_silent: bool
    data: Mapping[int, bytes]
    port: Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class Create:
    """Make a device."""

    wish: DeviceWish


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove a device of ours that cannot be changed into what is wanted."""

    name: str
    index: int


@dataclass(frozen=True, slots=True)
class Foreign:
    """Give up: the name belongs to a device that is not ours to remove."""

    name: str
    kind: str
    wanted: str


@dataclass(frozen=True, slots=True)
class Alter:
    """Change what differs; None and empty mean: leave it."""

    name: str
    index: int
    kind: str
    mac: str | None = None
    mtu: int | None = None
    options: Mapping[int, bytes] = field(default_factory=dict)
    master: str | None = None
    port: Mapping[int, bytes] = field(default_factory=dict)
    silence: bool = False
    up: bool = False


DeviceStep = Create | Remove | Foreign | Alter


def plan_devices(wishes: Sequence[DeviceWish], actual: Mapping[str, Device]) -> list[DeviceStep]:
    """Return the next steps towards the wishes; after a `Create` or `Remove`, read the state and plan again."""
    steps: list[DeviceStep] = []
    for wish in wishes:
        device = actual.get(wish.name)
        if device is None:
            steps.append(Create(wish))
        elif device.kind != wish.kind:
            steps.append(Foreign(wish.name, device.kind, wish.kind))
        elif _differing(wish.birth, device.data):
            steps.append(Remove(wish.name, device.index))
        elif wish.master is None or wish.master in actual:
            steps += _alter(wish, device)
    return steps


def _alter(wish: DeviceWish, device: Device) -> list[DeviceStep]:
    untouched = Alter(wish.name, device.index, wish.kind)
    change = Alter(
        wish.name, device.index, wish.kind,
        mac=wish.mac if wish.mac != device.mac else None,
        mtu=wish.mtu if wish.mtu != device.mtu else None,
        options=_differing(wish.options, device.data),
        master=wish.master if wish.master != device.master else None,
        port=_differing(wish.port, device.port),
        silence=wish.silent and not device.is_silent,
        up=not device.is_up,
    )
    return [] if change == untouched else [change]


def _differing(wanted: Mapping[int, bytes], actual: Mapping[int, bytes]) -> dict[int, bytes]:
    return {key: value for key, value in sorted(wanted.items()) if actual.get(key) != value}


# Forwarding

@dataclass(frozen=True, slots=True)
class Local:
    """What is on this host; no peer can claim it."""

    macs: frozenset[Mac]
    neighbours: Mapping[Packed, Mac]
    """Addresses of local containers."""
    own: frozenset[Packed]
    """Addresses of the bridge itself."""


@dataclass(frozen=True, slots=True)
class ForwardingChange:
    """What to add, then what to remove: a moved container is never unreachable in between."""

    floods: Sequence[Packed] = ()
    tunnels: Sequence[tuple[Mac, Packed]] = ()
    neighbours: Sequence[tuple[Packed, Mac]] = ()
    gone_neighbours: Sequence[tuple[Packed, Mac]] = ()
    gone_tunnels: Sequence[tuple[Mac, Packed]] = ()
    """Also the old way of a MAC whose new way is in the device of the other family."""
    gone_floods: Sequence[Packed] = ()
    copies: Sequence[tuple[Mac, Packed]] = ()
    gone_copies: Sequence[tuple[Mac, Packed]] = ()

    def __bool__(self) -> bool:
        return any((self.floods, self.tunnels, self.neighbours, self.gone_neighbours, self.gone_tunnels,
                    self.gone_floods, self.copies, self.gone_copies))


def want_forwarding(remotes: Iterable[Remote], endpoints: Iterable[Endpoint], local: Local,
                    receivers: Receivers = MappingProxyType({})) -> Forwarding:
    """Return the forwarding state that lets every endpoint behind a remote be reached.

    Of two endpoints with one MAC, or one address, the first in order of (peer, MAC) wins, on every host alike.
    """
    vteps = {remote.peer: SLEEVE if remote.vtep is None else Packed(remote.vtep.packed) for remote in remotes}
    tunnels: dict[Mac, Packed] = {}
    neighbours = dict(local.neighbours)
    reachable = [(endpoint.peer, endpoint.mac, endpoint) for endpoint in endpoints if endpoint.peer in vteps]
    for peer, text, endpoint in sorted(reachable, key=itemgetter(0, 1)):
        mac = Mac(bytes.fromhex(text.replace(":", "")))
        if mac in local.macs or mac in tunnels:
            continue
        tunnels[mac] = vteps[peer]
        for address in endpoint.addresses:
            packed = Packed(address.packed)
            if packed not in local.own:
                neighbours.setdefault(packed, mac)
    floods = frozenset(vteps.values()) - {SLEEVE}
    return Forwarding(floods, tunnels, neighbours, frozenset(copies(receivers, vteps, floods)))


def plan_forwarding(wanted: Forwarding, actual: Forwarding) -> ForwardingChange:
    """Return the difference, in a stable order."""
    kept = wanted.tunnels
    gone_tunnels = [(mac, vtep) for mac, vtep in actual.tunnels.items()
                    if mac not in kept or len(kept[mac]) != len(vtep)]
    return ForwardingChange(
        floods=sorted(wanted.floods - actual.floods),
        tunnels=_missing(wanted.tunnels, actual.tunnels),
        neighbours=_missing(wanted.neighbours, actual.neighbours),
        gone_neighbours=sorted((ip, mac) for ip, mac in actual.neighbours.items() if ip not in wanted.neighbours),
        gone_tunnels=sorted(gone_tunnels),
        gone_floods=sorted(actual.floods - wanted.floods),
        copies=sorted(wanted.copies - actual.copies),
        gone_copies=sorted(actual.copies - wanted.copies),
    )


def _missing(wanted: Mapping[K, V], actual: Mapping[K, V]) -> list[tuple[K, V]]:
    """Return the pairs that are not there, sorted by their keys."""
    has = actual.get
    return sorted((pair for pair in wanted.items() if has(pair[0]) != pair[1]), key=itemgetter(0))


# Inside a container

@dataclass(frozen=True, slots=True)
class Inside:
    """What to add to a container's interface."""

    addresses: tuple[IPInterface, ...]
    routes: tuple[Route, ...]


def plan_inside(request: AttachRequest, addresses: Iterable[IPInterface], routes: Iterable[Route]) -> Inside:
    """Return what the interface lacks, given the addresses and routes it has."""
    has, known = frozenset(addresses), frozenset(routes)
    wanted = want_routes(request, [*has, *request.addresses])
    return Inside(
        addresses=tuple(dict.fromkeys(item for item in request.addresses if item not in has)),
        routes=tuple(route for route in wanted if route not in known),
    )


def want_routes(request: AttachRequest, addresses: Sequence[IPInterface]) -> list[Route]:
    """Return the routes of a request; a gateway outside every subnet gets a route of its own first."""
    routes = [*request.routes, *request.optional_routes]
    if request.gateway is not None:
        routes.append(Route(EVERYWHERE[request.gateway.version], request.gateway))
    if request.multicast_route and any(address.version == 4 for address in addresses):
        routes.append(Route(MULTICAST))
    links = [Route(_host_network(route.gateway)) for route in routes
             if route.gateway is not None and not _on_link(route.gateway, addresses, routes)]
    return list(dict.fromkeys([*links, *sorted(routes, key=lambda route: route.gateway is not None)]))


def _on_link(gateway: IPAddress, addresses: Sequence[IPInterface], routes: Sequence[Route]) -> bool:
    nets: list[IPNetwork] = [address.network for address in addresses]
    nets += [route.destination for route in routes if route.gateway is None and route.destination != MULTICAST]
    return any(net.version == gateway.version and gateway in net for net in nets)


def _host_network(address: IPAddress) -> IPNetwork:
    return IPv4Network(address) if isinstance(address, IPv4Address) else IPv6Network(address)
