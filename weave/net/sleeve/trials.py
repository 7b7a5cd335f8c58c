"""Measure the direct way to a peer beside one through a helper, and say where a handshake is to change it. Pure.

The end with the lower static key decides, for both: its handshake goes the better way, and a session takes its way with
it. So both ends always use the same one. The other end measures only what people want to know, the direct way that is
not used; its trials also open address translators for those of the first. Only peers with which frames are exchanged,
or that are reached through another, are measured at all.
"""

from collections.abc import Callable, Sequence

from weave.net.sleeve import limits
from weave.net.sleeve.peer import Peer
from weave.net.sleeve.relaying import LOSSY, Relaying
from weave.net.sleeve.ways import FAR, Way
from weave.net.sleeve.wire import Address, Echo, Key, Probe, encode_control, helper_of, via


class Trials:
    """Own the pace of trials of all peers."""

    def __init__(self, own_key: Key, relaying: Relaying, send: Callable[[Peer, bytes, Address], None]) -> None:
        self._own_key = own_key
        self._relaying = relaying
        self._send = send
        self._in_haste: set[str] = set()

    def tend(self, peer: Peer, now: float) -> Sequence[Address]:
        """Send what is due; return where a handshake is to go for the peer to be reached the other way from now on."""
        ways = peer.ways
        ways.settle(now)
        peer.trial_at = FAR
        if not self._is_compared(peer, now):
            self.forget(peer)
            return ()
        pace_s = self._pace_s(peer, now)
        if ways.next_at(pace_s) <= now:
            self._try(peer, now)
        peer.trial_at = ways.next_at(pace_s)
        if not self._decides(peer) or peer.handshake_at > now or not ways.is_to_change(now):
            return ()
        return direct_places(peer) if ways.is_relayed else [via(ways.helper)]

    def answered(self, peer: Peer, echo: Echo, now: float) -> None:
        """Take in the echo of a trial."""
        peer.ways.answered(echo.number >> 1, Way(echo.number & 1), now)

    def forget(self, peer: Peer) -> None:
        """Let another peer be measured in haste."""
        self._in_haste.discard(peer.config.name)

    def _is_compared(self, peer: Peer, now: float) -> bool:
        if not peer.compares or not peer.is_established or peer.quality.lost_in_row >= limits.PROBES_LOST:
            return False
        if peer.helper is not None:
            return True
        # who passes on for others stays direct
        if not self._decides(peer) or not peer.is_busy(now) or self._relaying.is_helping(peer):
            return False
        peer.ways.choose(self._relaying.helpers(peer), now)
        return bool(peer.ways.helper)

    def _pace_s(self, peer: Peer, now: float) -> float:
        name = peer.config.name
        in_haste = peer.ways.is_unknown or (
            self._decides(peer) and peer.ways.is_in_haste(now, doubted=peer.quality.loss > LOSSY / 2))
        if in_haste and (name in self._in_haste or len(self._in_haste) < limits.MAX_IN_HASTE):
            self._in_haste.add(name)
            return limits.TRIAL_HASTE_S
        self._in_haste.discard(name)
        return limits.TRIAL_BUSY_S if peer.is_busy(now) else limits.TRIAL_IDLE_S

    def _try(self, peer: Peer, now: float) -> None:
        """Send two trials at once."""
        assert peer.current is not None, "only established peers are compared"
        session, number = peer.current.session, peer.ways.begin(now)
        for way, places in ((Way.DIRECT, direct_places(peer)), (Way.THROUGH, [via(peer.ways.helper)])):
            trial = session.seal_control(encode_control(Probe(0, number << 1 | way, session.sent, is_trial=True)))
            for place in places:
                self._send(peer, trial, place)

    def _decides(self, peer: Peer) -> bool:
        return self._own_key < peer.config.key


def direct_places(peer: Peer) -> list[Address]:
    """Return where a peer is, or may be, without help."""
    if peer.address is not None and peer.helper is None:
        return [peer.address]
    return [place for place in peer.candidates() if helper_of(place) is None]
