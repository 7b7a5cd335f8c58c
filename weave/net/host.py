"""Read what stands on this host: containers on the bridge, addresses, the way to other hosts. Blocking."""

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from weave.addresses import IPAddress, IPInterface, IPNetwork
from weave.errors import WeaveError
from weave.net import limits, naming, uplink
from weave.net.model import Attachment, DatapathConfig, in_order
from weave.net.namespace import namespace
from weave.netlink import messages
from weave.netlink.connection import Netlink, NetlinkFailure
from weave.netlink.constants import RT_TABLE_MAIN
from weave.netlink.readings import (
    Address,
    Link,
    Route,
    read_address,
    read_link,
    read_namespace_id,
    read_route,
)

NAMESPACE_DIRECTORIES = (Path("/run/netns"), Path("/run/docker/netns"))


@dataclass(frozen=True, slots=True)
class Near:
    """The host's end of a container's cable."""

    container: str
    interface: str
    link: Link


def near_ends(netlink: Netlink) -> list[Near]:
    """Return our cables, on the bridge or fallen off it, sorted by container and interface."""
    found = []
    for link in links(netlink):
        owner = naming.owner_of(link.name, link.alias) if link.kind == "veth" else None
        if owner is not None:
            found.append(Near(*owner, link))
    return sorted(found, key=lambda near: (near.container, near.interface))


def read_attachment(netlink: Netlink, near: Near) -> Attachment | None:
    """Return what is at the far end of a cable; None where its namespace is going or cannot be named."""
    if near.link.peer_namespace is None:
        return None
    try:
        far = link_at(netlink, near.link.peer, near.link.peer_namespace)
        found = interface_addresses(netlink, near.link.peer, near.link.peer_namespace)
    except NetlinkFailure:
        return None
    return Attachment(near.container, near.interface, far.mac, in_order(found), far.mtu, near.link.name)


def find_namespace(netlink: Netlink, wanted: int) -> Path | None:
    """Return a path to the namespace that ours knows by an id, found among those of processes and named ones."""
    return next((path for known_as, path in namespaces(netlink) if known_as == wanted), None)


def namespaces(netlink: Netlink) -> Iterator[tuple[int | None, Path]]:
    """Find the namespaces of processes and the named ones, each once: the id by which ours knows it, and a path."""
    seen: set[int] = set()
    for path in _candidates():
        try:
            inode = path.stat().st_ino
            if inode in seen:
                continue
            seen.add(inode)
            with namespace(path) as descriptor:
                answer = netlink.query(messages.get_namespace_id(descriptor), "name a namespace")
        except (OSError, WeaveError):
            continue
        yield read_namespace_id(answer), path


def link_at(netlink: Netlink, index: int, where: int | None = None) -> Link:
    """Return the device of that index, in the namespace we know by the id `where` (None: our own)."""
    return read_link(netlink.query(messages.get_link_at(index, where), "look up a device"))


def links(netlink: Netlink) -> list[Link]:
    """Return every device."""
    return [read_link(body) for body in netlink.dump(messages.dump_links(), "list devices")]


def addresses(netlink: Netlink, index: int = 0, where: int | None = None) -> list[Address]:
    """Return every address, or those of one device, in the namespace we know by the id `where` (None: our own)."""
    bodies = netlink.dump(messages.dump_addresses(index, where), "list addresses")
    return [item for item in map(read_address, bodies) if item is not None]


def interface_addresses(netlink: Netlink, index: int, where: int | None = None) -> list[IPInterface]:
    """Return the addresses of one device that are not of the link alone."""
    return [item.interface for item in addresses(netlink, index, where) if not item.interface.ip.is_link_local]


def underlay_addresses(netlink: Netlink, config: DatapathConfig) -> tuple[IPAddress, ...]:
    """Return the addresses at which other hosts reach us."""
    return uplink.underlay_addresses(links(netlink), addresses(netlink), _routes(netlink), config.devices)


def segment_mtu(netlink: Netlink, config: DatapathConfig) -> int:
    """Return the MTU of the segment that follows from the underlay."""
    return uplink.segment_mtu(links(netlink), addresses(netlink), _routes(netlink), config.devices,
                              told=config.advertise, sealing=config.sealing)


def underlay_mtu(netlink: Netlink, own: Collection[str]) -> int:
    """Return the MTU of the devices that our traffic leaves by."""
    return uplink.underlay_mtu(links(netlink), addresses(netlink), _routes(netlink), own)


def largest_payload(netlink: Netlink, own: Collection[str]) -> int:
    """Return the size of the largest UDP payload that the devices our traffic leaves by carry in one piece."""
    return underlay_mtu(netlink, own) - limits.UDP_OVERHEAD


def routes_into(netlink: Netlink, network: IPNetwork, own: str) -> list[IPNetwork]:
    """Return where the host's routes, but for the default one and those of our bridge, lead into a network."""
    ours = {link.index for link in links(netlink) if link.name == own}
    found = {route.destination for route in _main_routes(netlink, network.version)
             if route.destination.prefixlen and route.device not in ours and route.destination.overlaps(network)}
    return sorted(found, key=str)


def _routes(netlink: Netlink) -> list[Route]:
    return [*_main_routes(netlink, 4), *_main_routes(netlink, 6)]


def _main_routes(netlink: Netlink, version: int) -> list[Route]:
    try:
        bodies = netlink.dump(messages.dump_routes(version), "list routes")
    except NetlinkFailure:
        if version == 6:
            return []
        raise
    return [route for route in map(read_route, bodies) if route is not None and route.table == RT_TABLE_MAIN]


def _candidates() -> Iterator[Path]:
    for directory in NAMESPACE_DIRECTORIES:
        if directory.is_dir():
            yield from sorted(directory.iterdir())
    yield from (Path(f"/proc/{name}/ns/net") for name in os.listdir("/proc") if name.isdigit())


