"""The first division of the range, from which every peer derives the same first owners.

A division is the range and the peers among whom it is divided, nothing else. Its hash names the ring: two peers with
the same ring id have the same ring, two ring ids are two rings that must never be mixed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

from weave.addresses import IPNetwork
from weave.ipam.blocks import Block
from weave.names import PeerName

RING_ID_BYTES = 8
_CONTEXT = "weave ring 1"


@dataclass(frozen=True)
class Division:
    """A range and the peers, sorted and unique, among whom it is first divided."""

    network: IPNetwork
    peers: tuple[PeerName, ...]

    @cached_property
    def ring_id(self) -> bytes:
        """Return the name of the ring that follows from this division."""
        text = " ".join([_CONTEXT, str(self.network), *self.peers])
        return blake2b(text.encode(), digest_size=RING_ID_BYTES).digest()

    @property
    def rank(self) -> tuple[int, bytes]:
        """Return what decides between two rings that meet: the one divided among more peers goes on.

        A newcomer that was started alone by mistake must not stop a whole cluster.
        """
        return len(self.peers), self.ring_id

    def shares(self) -> list[tuple[Block, PeerName]]:
        """Return the blocks and their first owners, in the order of the addresses.

        Each peer has one block; the sizes differ by a factor of two at most. Where there are more peers than
        addresses, the last go without and ask, as latecomers do.
        """
        whole = Block(int(self.network.network_address), self.network.num_addresses)
        return list(_divide(whole, self.peers))


def make_division(network: IPNetwork, peers: Sequence[PeerName]) -> Division:
    """Return the division among these peers, in whatever order they come."""
    return Division(network, tuple(sorted(set(peers))))


def _divide(block: Block, peers: Sequence[PeerName]) -> Iterator[tuple[Block, PeerName]]:
    if len(peers) == 1 or block.size == 1:
        yield block, peers[0]
        return
    middle = (len(peers) + 1) // 2
    low, high = block.halves()
    yield from _divide(low, peers[:middle])
    yield from _divide(high, peers[middle:])
