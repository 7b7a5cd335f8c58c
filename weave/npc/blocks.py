"""Blocks of addresses less their exceptions, as ranges. Pure."""

from ipaddress import IPv6Address

from weave.addresses import IPAddress, address_at
from weave.npc.model import BlockPeer


def text_of(address: IPAddress) -> str:
    """Return an address as nft reads it: without a scope, which in IPv6 could be any text."""
    return str(address if address.version == 4 else IPv6Address(int(address)))


def ranges_of(peer: BlockPeer) -> tuple[str, ...]:
    """Return the ranges of a block that its exceptions leave, in order; maybe none."""
    at = int(peer.block.network_address)
    end = int(peer.block.broadcast_address)
    found: list[tuple[int, int]] = []
    for hole in sorted((int(net.network_address), int(net.broadcast_address))
                       for net in peer.excepts if net.version == peer.block.version):
        if hole[0] > at:
            found.append((at, min(hole[0] - 1, end)))
        at = max(at, hole[1] + 1)
        if at > end:
            break
    if at <= end:
        found.append((at, end))
    version = peer.block.version
    return tuple(range_text(text_of(address_at(version, first)), text_of(address_at(version, last)))
                 for first, last in found if first <= last)


def range_text(first: str, last: str) -> str:
    """Return a range as nft reads it."""
    return first if first == last else f"{first}-{last}"
