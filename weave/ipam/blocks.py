"""Addresses as integers: aligned blocks of them, and the universe they are counted in.

A block is what a CIDR prefix names: a power of two of addresses, aligned to its size. Two blocks are disjoint or
nested, never half overlapping; the ring is built on that.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_interface

from weave.addresses import IPAddress, IPInterface, IPNetwork, address_at


@dataclass(frozen=True, slots=True, order=True)
class Block:
    """The addresses from `start` up to, not including, `end`; the size is a power of two and divides `start`."""

    start: int
    size: int

    @property
    def end(self) -> int:
        """Return the first address behind the block."""
        return self.start + self.size

    def halves(self) -> tuple["Block", "Block"]:
        """Split it in the middle; it must have two addresses or more."""
        half = self.size // 2
        return Block(self.start, half), Block(self.start + half, half)


def is_aligned(start: int, size: int) -> bool:
    """Say whether these can be a block."""
    return start >= 0 and size > 0 and size & (size - 1) == 0 and start & (size - 1) == 0


def blocks_between(start: int, end: int) -> Iterator[Block]:
    """Yield the fewest blocks that make up the addresses from `start` up to `end`, in order."""
    while start < end:
        most = 1 << ((end - start).bit_length() - 1)
        size = min(start & -start, most) if start else most
        yield Block(start, size)
        start += size


def largest_block(start: int, end: int, most: int) -> Block | None:
    """Return the largest, then highest, block of at most `most` addresses between `start` and `end`."""
    size = 1 << (min(end - start, most).bit_length() - 1) if min(end - start, most) > 0 else 0
    while size:
        aligned = (end - size) & -size
        if aligned >= start:
            return Block(aligned, size)
        size >>= 1
    return None


class Universe:
    """The range that a ring divides, and the way between integers, addresses and octets of its family."""

    def __init__(self, network: IPNetwork) -> None:
        self.network = network
        self.family = network.version
        self.bits = network.max_prefixlen
        self.octets = self.bits // 8
        self.block = Block(int(network.network_address), network.num_addresses)
        self.start = self.block.start
        self.end = self.block.end

    def contains(self, address: int) -> bool:
        """Say whether an address lies in the range."""
        return self.start <= address < self.end

    def holds(self, start: int, size: int) -> bool:
        """Say whether these are a block within the range."""
        return is_aligned(start, size) and self.start <= start and start + size <= self.end

    def address(self, number: int) -> IPAddress:
        """Return the address with this value."""
        return address_at(self.family, number)

    def interface(self, number: int, prefix: int) -> IPInterface:
        """Return the address with this value in a subnet of this prefix length."""
        return ip_interface((number, prefix))

    def prefix(self, block: Block) -> int:
        """Return the prefix length of a block."""
        return self.bits - (block.size.bit_length() - 1)

    def text(self, block: Block) -> str:
        """Return a block as people write it."""
        return f"{self.address(block.start)}/{self.prefix(block)}"

    def hosts(self, subnet: IPNetwork) -> tuple[int, int]:
        """Return the first and (exclusive) last address of a subnet that a host may have.

        IPv4 keeps back the network and the broadcast address, IPv6 the anycast address of the subnet's routers.
        """
        first = int(subnet.network_address)
        return first + 1, first + subnet.num_addresses - (self.family == 4)
