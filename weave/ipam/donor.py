"""Giving space to those who ask: half of what is free where they need it, as one block."""

from collections import OrderedDict

from weave.ipam.blocks import Universe
from weave.ipam.estate import Estate
from weave.ipam.limits import MAX_WRITTEN, REMEMBERED_GRANTS
from weave.ipam.messages import Ask, Denial, Deny, Grant
from weave.names import PeerName

SHOWN_RANGES = 32
"""Records in a denial: enough to point to the owners of a small subnet."""


class Donor:
    """The answering side of requests for space."""

    def __init__(self, me: PeerName, universe: Universe, estate: Estate) -> None:
        self._me = me
        self._universe = universe
        self._estate = estate
        self._grants: OrderedDict[tuple[PeerName, int], Grant] = OrderedDict()

    def answer(self, peer: PeerName, ask: Ask) -> Grant | Deny:
        """Give away what is asked for, or say why not; the same request gets the same answer again.

        What is given is out of our hands, and its record stored, before the answer leaves.
        """
        known = self._grants.get((peer, ask.nonce))
        if known is not None:
            return known
        grant = self._give(peer, ask)
        if grant is None:
            return self._deny(ask)
        self._grants[peer, ask.nonce] = grant
        while len(self._grants) > REMEMBERED_GRANTS:
            self._grants.popitem(last=False)
        return grant

    def _give(self, peer: PeerName, ask: Ask) -> Grant | None:
        estate = self._estate
        gift = estate.space.largest_gift(estate.mine, ask.low, ask.high)
        if gift is None:
            return None
        segment, block = gift
        if estate.ring.written >= MAX_WRITTEN and block != segment.range.block:
            return None
        given = estate.ring.pass_on(segment, block, peer, self._me)
        estate.merge([given])
        return Grant(ask.nonce, (given,))

    def _deny(self, ask: Ask) -> Deny:
        space, ring = self._estate.space, self._estate.ring
        if not space.owned.count(ask.low, ask.high):
            return Deny(ask.nonce, Denial.NOT_OWNER, ranges=tuple(ring.around(ask.low, ask.high, SHOWN_RANGES)))
        holding = space.holder(ask.low) if ask.high - ask.low == 1 else None
        if holding is not None:
            return Deny(ask.nonce, Denial.IN_USE, holding.ident)
        return Deny(ask.nonce, Denial.NONE_FREE)
