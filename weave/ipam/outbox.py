"""What one event makes the core ask of its shell, gathered in one place.

All rows of an event form one `Persist`, and everything else follows it: so nothing is said, published or answered
before what it rests on is durable.
"""

from collections.abc import Iterable

from store.changes import Change
from weave.errors import LocalError
from weave.ipam import messages
from weave.ipam.blocks import Universe
from weave.ipam.effects import Answer, Effect, Outcome, Persist, Publish, SendTo
from weave.names import PeerName


class Outbox:
    """Rows, entries, messages and answers on their way out."""

    def __init__(self, universe: Universe) -> None:
        self.published: dict[bytes, bytes] = {}
        """Our entries as the gossip channel has them, or will once what is under way is executed."""
        self._universe = universe
        self._rows: list[Change] = []
        self._effects: list[Effect] = []

    def persist(self, changes: Iterable[Change]) -> None:
        """Make these changes durable before anything of this event leaves."""
        self._rows.extend(changes)

    def publish(self, key: bytes, value: bytes | None) -> None:
        """See to it that our entry has this value (None: that there is none)."""
        if self.published.get(key) == value:
            return
        if value is None:
            del self.published[key]
        else:
            self.published[key] = value
        self._effects.append(Publish(key, value))

    def heard(self, key: bytes, value: bytes | None) -> None:
        """Take note of what the channel has under our name; an earlier life of ours may have written it."""
        if value is None:
            self.published.pop(key, None)
        else:
            self.published[key] = value

    def send(self, peer: PeerName, ring_id: bytes, message: messages.Message) -> None:
        """Send a message."""
        self._effects.append(SendTo(peer, messages.encode(self._universe, ring_id, message)))

    def answer(self, request: int, outcome: Outcome) -> None:
        """End a request."""
        self._effects.append(Answer(request, outcome))

    def refuse(self, request: int, error: LocalError) -> None:
        """End a request with a refusal."""
        self._effects.append(Answer(request, error))

    def drain(self) -> list[Effect]:
        """Return everything gathered, the rows first, and begin anew."""
        effects = self._effects
        if self._rows:
            effects = [Persist(tuple(self._rows)), *effects]
        self._rows, self._effects = [], []
        return effects
