"""Find the underlay in what the host has: its addresses and how large its frames may be. Pure."""

from collections.abc import Collection, Iterable, Sequence

from weave.addresses import IPAddress
from weave.net import limits
from weave.netlink.constants import RT_SCOPE_UNIVERSE
from weave.netlink.readings import Address, Link, Route

INTERNAL_KINDS = frozenset({"bridge", "dummy", "vxlan", "geneve", "tun", "ipvlan"})
"""Devices that other container networks make; one of them is underlay only where the default route uses it."""


def underlay_addresses(links: Sequence[Link], addresses: Iterable[Address], routes: Iterable[Route],
                       own: Collection[str]) -> tuple[IPAddress, ...]:
    """Return the addresses other hosts may reach us at, those on the way of the default route first."""
    uplinks = _uplinks(links, routes, own)
    rank = {link.index: place for place, link in enumerate(uplinks)}
    usable = [item for item in addresses if item.index in rank and item.scope == RT_SCOPE_UNIVERSE]
    usable.sort(key=lambda item: (rank[item.index], item.interface.version))
    return tuple(dict.fromkeys(item.interface.ip for item in usable))


def segment_mtu(links: Sequence[Link], addresses: Sequence[Address], routes: Sequence[Route],
                own: Collection[str], *, told: Collection[IPAddress] = (), sealing: int = 0) -> int:
    """Return how large a frame's payload may be on the segment: what the underlay carries, less our headers.

    VXLAN over IPv6 takes more and is never cut. Any peer that may reach us by it counts, whether one does or not: all
    hosts are told the size when we start, before anybody has. Who is `told` nothing but IPv4 addresses is not reached
    so. With encryption that adds `sealing`, the headers of both families are in that.
    """
    overhead = max(limits.VXLAN_OVERHEAD_V4 + sealing,
                   limits.VXLAN_OVERHEAD_V6 if _by_ipv6(links, addresses, routes, own, told) else 0)
    return min(max(underlay_mtu(links, addresses, routes, own) - overhead, limits.MIN_MTU), limits.MAX_MTU)


def underlay_mtu(links: Sequence[Link], addresses: Iterable[Address], routes: Sequence[Route],
                 own: Collection[str]) -> int:
    """Return the MTU of the devices that our traffic leaves by, or of a default route there that has a smaller one.

    A device may have several: of both families, and some for the time when the first is gone.
    """
    deciding = {link.index: link.mtu for link in _deciding(links, addresses, routes, own)}
    if not deciding:
        return limits.DEFAULT_UNDERLAY_MTU
    limiting = [route.mtu for route in routes if _is_default(route) and route.mtu and route.device in deciding]
    return min(limits.MAX_PACKET, *deciding.values(), *limiting)


def _by_ipv6(links: Sequence[Link], addresses: Sequence[Address], routes: Sequence[Route], own: Collection[str],
             told: Collection[IPAddress]) -> bool:
    """Say whether peers may reach us by IPv6."""
    if told:
        return any(address.version == 6 for address in told)
    deciding = {link.index for link in _deciding(links, addresses, routes, own)}
    versions = {item.interface.version for item in addresses
                if item.index in deciding and item.scope == RT_SCOPE_UNIVERSE}
    return 6 in versions or (bool(deciding) and not versions)


def _deciding(links: Sequence[Link], addresses: Iterable[Address], routes: Sequence[Route],
              own: Collection[str]) -> list[Link]:
    """Return the devices of default routes or, without any, all that others may reach us by."""
    uplinks = _uplinks(links, routes, own)
    defaults = {route.device for route in routes if _is_default(route)}
    having = {item.index for item in addresses if item.scope == RT_SCOPE_UNIVERSE}
    return ([link for link in uplinks if link.index in defaults]
            or [link for link in uplinks if link.index in having])


def _uplinks(links: Sequence[Link], routes: Iterable[Route], own: Collection[str]) -> list[Link]:
    """Return the devices that lead to other hosts, those of default routes first."""
    defaults = {route.device for route in routes if _is_default(route)}
    leading = [link for link in links if link.is_up and not link.is_loopback and not link.master
               and link.name not in own and (link.index in defaults or link.kind not in INTERNAL_KINDS)]
    return sorted(leading, key=lambda link: (link.index not in defaults, link.index))


def _is_default(route: Route) -> bool:
    return route.destination.prefixlen == 0 and route.gateway is not None
