"""Who cannot be reached, and since when: after `FORGET_AFTER_S` what they wrote is forgotten. Pure."""

from collections.abc import Iterable

from weave.mesh import limits
from weave.names import PeerName


class Absences:
    """Own the times since which peers have been unreachable."""

    def __init__(self) -> None:
        self._since: dict[PeerName, float] = {}

    def begin(self, names: Iterable[PeerName], now: float) -> None:
        """Count from now on for those that went; for those that are away already nothing changes."""
        for name in names:
            self._since.setdefault(name, now)

    def end(self, names: Iterable[PeerName]) -> None:
        """Stop counting for those that are back."""
        for name in names:
            self._since.pop(name, None)

    def forget(self, now: float) -> list[PeerName]:
        """Return, sorted, who has been away for too long; they are not counted any more."""
        due = sorted(name for name, since in self._since.items() if now - since >= limits.FORGET_AFTER_S)
        self.end(due)
        return due
