"""Which peers should be neighbours: everybody in a small mesh, O(log N) well-spread ones in a large one.

The links are those of a skip graph. The hash of a name gives the peer a position on a circle and a string of bits.
The peers whose strings begin with the same i bits form the ring of level i, in the order of their positions; each is
linked to the `REACH` nearest on both sides of every ring that it is in.

    level 0   a - b - c - d - e - f - g - h - (a)      all peers: this ring alone connects the graph
    level 1   a ----- c - d --------- g ----- (a)      about half of them, at random (bit 0), and the other half
    level 2   a --------- d ----------------- (a)      about a quarter: links twice as long again

Why not fingers at the distances 2^-k (Chord)? They reach as far with as many links, but whoever follows a gap on the
circle collects the fingers of all that point into the gap: 90 links where the mean is 20. Here a link is wanted by both
ends or by none, a thousand peers have 20 links each and none more than 30, and a join or leave moves only the links of
the peers next to it in its own rings.

Pure functions of a set of names; every peer computes the same graph.
"""

from collections.abc import Collection, Sequence
from functools import lru_cache
from hashlib import blake2s

from weave.names import PeerName, peer_name_to_bytes

REACH = 2
"""Links to each side in a ring. With one, a tenth of a small mesh is cut off when half of it dies; with two, none."""
SPARES = 4
"""How many further peers of a ring may stand in for those that cannot be reached."""
FULL_MESH_PEERS = 32
"""Up to this many peers form a full mesh: nobody has more links then than the busiest of a thousand."""
REJOIN_SHARE = 0.75
"""A sparse mesh is full again only below this share of the bound, so that one peer coming and going moves few links."""
BITS = 64
"""Levels at most; 2**32 peers would use half of them."""

Side = tuple[PeerName, ...]
"""Peers of one ring, nearest first, walking one way: the first `REACH` are the neighbours, the others spares."""


@lru_cache(maxsize=1 << 16)
def place(name: PeerName) -> tuple[int, int]:
    """Return the position of a peer on the circle and its membership bits, both 64 bits of a hash of its name."""
    digest = blake2s(peer_name_to_bytes(name), digest_size=16).digest()
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")


def full_mesh_bound(connection_limit: int) -> int:
    """Return the largest number of peers (with ourselves) that form a full mesh under a connection limit."""
    return min(FULL_MESH_PEERS, connection_limit + 1)


def ring_sides(me: PeerName, names: Collection[PeerName]) -> list[Side]:
    """Return both sides of every ring that `me` is in, the most important first.

    Level 0 comes first, because it connects the mesh, then the rings from the smallest (whose links reach
    farthest) up. `names` may contain `me`.
    """
    position, bits = place(me)
    placed = ((name, *place(name)) for name in names if name != me)
    ring = sorted(((other - position) % (1 << BITS), name, others) for name, other, others in placed)
    levels: list[list[Side]] = []
    for level in range(BITS):
        if not ring:
            break
        levels.append([_side(ring), _side(ring[::-1])])
        if len(ring) <= 2 * REACH:
            break  # everybody in this ring is linked to everybody already
        mask = 1 << (BITS - 1 - level)
        ring = [member for member in ring if (member[2] ^ bits) & mask == 0]
    return [side for sides in (levels[:1] + levels[:0:-1]) for side in sides]


def _side(ring: Sequence[tuple[int, PeerName, int]]) -> Side:
    """Return the nearest peers of a ring that is walked from us."""
    return tuple(name for _, name, _ in ring[: REACH + SPARES])


def clockwise(me: PeerName, names: Collection[PeerName]) -> list[PeerName]:
    """Return all other peers in the order of the circle from `me` on, so that not everybody begins with the same."""
    position, _ = place(me)
    return sorted(
        (name for name in names if name != me), key=lambda name: ((place(name)[0] - position) % (1 << BITS), name)
    )


def wanted_links(sides: Sequence[Side]) -> list[PeerName]:
    """Return the neighbours that a peer and they themselves want, the most important first, each once."""
    return list(dict.fromkeys(name for side in sides for name in side[:REACH]))


def stand_ins(sides: Sequence[Side], unreachable: Collection[PeerName]) -> list[PeerName]:
    """Return who replaces the neighbours that cannot be reached: the next ones of the same ring that can.

    Where those are neighbours already, in another ring, the ring is closed without anybody new.
    """
    chosen: dict[PeerName, None] = {}
    for side in sides:
        usable = [name for name in side if name not in unreachable]
        chosen.update(dict.fromkeys(name for name in usable[:REACH] if name not in side[:REACH]))
    wanted = set(wanted_links(sides))
    return [name for name in chosen if name not in wanted]
