"""What is passed on: by others for us, and by us for others. Pure.

Invariant: nothing makes two hops. Who passes something on sends it straight to its end or not at all, and takes it only
from the peer that it names as its origin. So it cannot go round, and relaying amplifies nothing.
"""

from collections import Counter
from collections.abc import Mapping

from weave.net.sleeve import limits
from weave.net.sleeve.model import Send
from weave.net.sleeve.peer import Peer
from weave.net.sleeve.ways import FAR
from weave.net.sleeve.wire import RELAY_BYTES, RELAY_HEAD, Address, Key, Kind, helper_of, short, via

LOSSY = 0.05
"""A helper that loses more than this share of probes comes after all others."""


class Relaying:
    """Own who was last heard from where, and what peers are called in the header of relayed datagrams."""

    def __init__(self, own_key: Key, peers: Mapping[str, Peer], refused: Counter[str]) -> None:
        self._short = short(own_key)
        self._peers = peers
        self._refused = refused
        self._by_short: dict[bytes, Peer] = {}
        self._at: dict[Address, Peer] = {}
        """Who was last heard from where; who uses it looks whether that still holds."""

    def add(self, peer: Peer) -> None:
        """Pass on what is for this peer."""
        self._by_short[peer.short] = peer

    def remove(self, peer: Peer) -> None:
        """Pass nothing on to this peer any more."""
        self._by_short.pop(peer.short, None)

    def note_place(self, address: Address, peer: Peer) -> None:
        """Note who is where; places that were left go when there are many."""
        self._at[address] = peer
        if len(self._at) > 2 * limits.MAX_PEERS:
            self._at = {other.address: other for other in self._peers.values() if other.address is not None}

    def sending(self, peer: Peer, datagram: bytes, address: Address) -> Send | None:
        """Return how a datagram gets to an address, which may be that of somebody who passes it on."""
        name = helper_of(address)
        if name is None:
            return Send(datagram, address)
        found = self.through(name, peer)
        return None if found is None else Send(found[0] + datagram, found[1])

    def through(self, name: str, peer: Peer) -> tuple[bytes, Address] | None:
        """Return what goes before each datagram to a peer through a helper, and where that is; None without one."""
        helper = self._peers.get(name)
        if helper is None or not helper.is_direct:
            return None
        assert helper.address is not None, "an established peer has an address"
        return RELAY_HEAD.pack(Kind.RELAYED, 1, peer.short, self._short), helper.address

    def take(self, data: bytes, address: Address) -> tuple[bytes, Address] | Send | None:
        """Take in a relayed datagram: return what it holds and from where, where it is for us; else how it goes on."""
        where = self.judge(data, address)
        if where is None:
            return None
        if helper_of(where) is not None:
            return data[RELAY_BYTES:], where
        _, hops, to, origin = RELAY_HEAD.unpack_from(data)
        return Send(RELAY_HEAD.pack(Kind.RELAYED, hops - 1, to, origin) + data[RELAY_BYTES:], where)

    def judge(self, data: bytes, address: Address, count: int = 1) -> Address | None:
        """Return where so many relayed datagrams from an address go on to, or that they came through its peer, to us.

        Of all of them `data` has the relay header and at least the first octet of what follows. None: they are refused.
        Only what comes from where a peer was last authenticated is looked at, and what is to be passed on must name
        that peer as its origin.
        """
        sender = self._at.get(address)
        if len(data) <= RELAY_BYTES or sender is None or sender.address != address or data[RELAY_BYTES] == Kind.RELAYED:
            self._refused["relayed datagrams of strangers"] += count
            return None
        _, hops, to, origin = RELAY_HEAD.unpack_from(data)
        if to == self._short:
            return via(sender.config.name)
        target = self._by_short.get(to)
        if not hops or target is None or not target.is_direct or origin != sender.short:
            self._refused["relayed datagrams that lead nowhere"] += count
            return None
        return target.address

    def helpers(self, peer: Peer) -> list[str]:
        """Return through whom a peer may be reached, the likeliest first."""
        able = [other for other in self._peers.values() if other is not peer and other.is_direct]
        able.sort(key=lambda other: (other.quality.loss > LOSSY, other.quality.rtt_s or FAR, other.config.name))
        return [helper.config.name for helper in able[:limits.MAX_RELAYS]]

    def is_helping(self, peer: Peer) -> bool:
        """Say whether others are reached through this peer."""
        return any(other.helper == peer.config.name for other in self._peers.values())
