"""The MTU of the segment: what the weakest of all hosts carries. Pure.

Hosts differ in the MTU of their underlay and in what encryption adds. A frame that is larger than what the other host
carries is dropped there without a word, so every host tells what it carries, and all take the least. The MTU is lowered
at once. It is raised only when nobody has needed the lower one for a while: a host that flaps would otherwise change
every container of the network each time.
"""

from collections.abc import Mapping
from math import inf

from weave.names import PeerName
from weave.net import limits


class SegmentMtu:
    """Own the decision of one host."""

    def __init__(self, own: int, *, present: int, floor: int) -> None:
        """Start with what the bridge has (`present`); never go below `floor`, nor above what this host carries."""
        self.own = own
        self.value = min(own, present)
        self.weakest: PeerName | None = None
        """The host that carries least, and less than this one; None: there is none."""
        self._floor = min(floor, own)
        self._claims: dict[PeerName, int] = {}
        self._raise_at = inf

    def hear(self, claims: Mapping[PeerName, int], now: float) -> int:
        """Take in what the reachable peers carry; return the MTU to use now."""
        self._claims = dict(claims)
        below = sorted((claim, peer) for peer, claim in claims.items() if claim < self.own)
        self.weakest = below[0][1] if below else None
        least = max(self._floor, below[0][0]) if below else self.own
        if least <= self.value:
            self.value, self._raise_at = least, inf
        elif self._raise_at == inf:
            self._raise_at = now + limits.MTU_RAISE_S
        elif self._raise_at <= now:
            self.value, self._raise_at = least, inf
        return self.value

    def deadline(self) -> float:
        """Return when `hear` will raise the MTU, should nothing change."""
        return self._raise_at

    def words(self, names: Mapping[PeerName, str], now: float) -> str:
        """Return in words why the MTU is smaller than what this host carries; nothing where it is not."""
        if self.value == self.own:
            return ""
        if self._raise_at != inf:
            return (f"a host that carried no more is gone; it is raised in {max(0.0, self._raise_at - now):.0f} s, "
                    f"this host carries {self.own}")
        if self.weakest is None:
            return f"found so; this host carries {self.own}"
        name, carries = names.get(self.weakest) or self.weakest, self._claims[self.weakest]
        if carries < self.value:
            return f"{name} carries {carries} alone, too little: large packets do not reach it"
        return f"{name} carries no more; this host carries {self.own}"


def read_claim(value: object) -> int | None:
    """Return what a peer says that it carries; None where it says nothing, or nonsense."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if limits.MIN_MTU <= value <= limits.MAX_MTU else None


def adjusted(has: int, before: int, after: int) -> int | None:
    """Return the MTU that a container's interface gets when that of the segment changes; None: it stays.

    One that was asked to be smaller stays so; one that follows the segment follows it up, too.
    """
    return after if has > after or has == before != after else None
