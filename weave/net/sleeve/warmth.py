"""Keep what a small frame needs in the processor's caches while frames come every few milliseconds.

A frame that finds the caches taken by other programs takes several times as long as the next one: nearly all of a quiet
conversation's round trip is that. So, as kernels poll a little before they let a processor sleep, we walk the same way
once a millisecond with something that goes nowhere, as long as the next frame is about to come. Frames that come faster
keep it warm themselves, rarer ones are not waited for, and where it is known when the next one comes (`expecting`), one
walk before that is enough. A walk takes 20 to 40 microseconds: 4% of one core at most.
"""

import os

from weave.net.sleeve import limits
from weave.net.sleeve.inlet import Inlet
from weave.net.sleeve.model import PeerConfig
from weave.net.sleeve.outlet import Outlet
from weave.net.sleeve.peer import Inbox, Peer
from weave.net.sleeve.session import Session
from weave.net.sleeve.ways import NEVER
from weave.net.sleeve.wire import KEY_BYTES, RECORD_LENGTH, Key, via

_UNIT = memoryview(RECORD_LENGTH.pack(limits.MAX_UNIT) + bytes(108))
"""As long as that of a ping; its only record is not whole, so that nothing is written to the bridge."""


class Warmth:
    """When to walk, and a peer that is nobody, with a key of its own, who is reached through nobody."""

    def __init__(self) -> None:
        key = os.urandom(KEY_BYTES)
        session = Session(local=0, remote=0, keys=(key, key), is_initiator=True, now=0.0)
        self._peer = Peer(PeerConfig("", Key(bytes(KEY_BYTES)), ()), limits.FIRST_SIZE)
        self._peer.address = via("")
        self._peer.scheduled_at = NEVER
        self._inbox = self._peer.current = Inbox(self._peer, session)
        self._came_at: dict[int, float] = {}
        self._until = NEVER

    def came(self, descriptor: int, now: float) -> None:
        """Note that frames came: the next are waited for if these came soon after the last from there."""
        if now - self._came_at.get(descriptor, NEVER) < limits.WARM_FOR_S:
            self._until = now + limits.WARM_FOR_S
        self._came_at[descriptor] = now

    def is_wanted(self, now: float) -> bool:
        """Say whether the next frame is about to come."""
        return now < self._until

    def walk(self, outlet: Outlet, inlet: Inlet, now: float) -> None:
        """Send nobody a frame and take it in."""
        inlet.rehearse(self._inbox, outlet.rehearse(self._peer, _UNIT, now), now)
