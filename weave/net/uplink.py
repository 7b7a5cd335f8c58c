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
                own: Collection[str]) -> int:
    """Return how large a frame's payload may be on the segment: what the underlay carries, less our headers."""
    uplinks = _uplinks(links, routes, own)
    defaults = {route.device: route.mtu for route in routes if _is_default(route)}
    having = {item.index: item.interface.version for item in
              sorted(addresses, key=lambda item: -item.interface.version) if item.scope == RT_SCOPE_UNIVERSE}
    deciding = ([link for link in uplinks if link.index in defaults]
                or [link for link in uplinks if link.index in having])
    sizes = [min(link.mtu, defaults.get(link.index) or link.mtu) for link in deciding]
    underlay = min(sizes, default=limits.DEFAULT_UNDERLAY_MTU)
    only_v6 = bool(deciding) and all(having.get(link.index, 6) == 6 for link in deciding)
    overhead = limits.VXLAN_OVERHEAD_V6 if only_v6 else limits.VXLAN_OVERHEAD_V4
    return min(max(underlay - overhead, limits.MIN_MTU), limits.MAX_MTU)


def _uplinks(links: Sequence[Link], routes: Iterable[Route], own: Collection[str]) -> list[Link]:
    """Return the devices that lead to other hosts, those of default routes first."""
    defaults = {route.device for route in routes if _is_default(route)}
    leading = [link for link in links if link.is_up and not link.is_loopback and not link.master
               and link.name not in own and (link.index in defaults or link.kind not in INTERNAL_KINDS)]
    return sorted(leading, key=lambda link: (link.index not in defaults, link.index))


def _is_default(route: Route) -> bool:
    return route.destination.prefixlen == 0 and route.gateway is not None
