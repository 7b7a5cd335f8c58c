"""The application of the mesh's own scenarios: it writes, listens, and remembers enough to catch a lie.

A value is the owner's life and a number that only rises, so a listener that is ever told an older value than before
has found a bug. `truth` is what the owner has published and not withdrawn; in durable channels it is on disk first.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from store.changes import Delete, Put
from tests.sim.world import InvariantBroken

if TYPE_CHECKING:
    from random import Random

    from tests.sim.node import Node
    from weave.mesh.effects import PeersChanged
    from weave.mesh.entries import ChannelChange
    from weave.names import PeerName

CHANNELS = ("dns", "endpoints", "ledger")
DURABLE = "ledger"
"""A durable channel of its own: that of the addresses belongs to the allocators."""
_VALUE = Struct(">QQ")
Key = tuple["PeerName", bytes]


class Scribe:
    def __init__(self, node: Node) -> None:
        self.node = node
        self.truth: dict[str, dict[bytes, bytes]] = {name: {} for name in CHANNELS}
        self.heard: dict[str, dict[Key, bytes]] = {name: {} for name in CHANNELS}
        self.newest: dict[tuple[str, Key], bytes] = {}
        self.mail: list[tuple[PeerName, bytes]] = []
        self._count = 0

    def start(self) -> None:
        """Publish again what a durable channel must keep."""
        for key, value in sorted(self.node.disk.read("scribe").items()):
            self.truth[DURABLE][key] = value
            self.node.publish(DURABLE, key, value)

    # --- acting

    def write(self, channel: str, key: bytes) -> None:
        """Publish the next value of a key."""
        self._count += 1
        value = _VALUE.pack(self.node.me.incarnation, self._count)
        if channel != DURABLE:
            self._publish(channel, key, value)
            return
        self.node.commit([Put("scribe", key, value)], lambda: self._publish(channel, key, value))

    def withdraw(self, channel: str, key: bytes) -> None:
        if channel != DURABLE:
            self._publish(channel, key, None)
            return
        self.node.commit([Delete("scribe", key)], lambda: self._publish(channel, key, None))

    def scribble(self, rng: Random, keys: int = 20) -> None:
        """Do something at random."""
        channel = rng.choice(CHANNELS)
        key = b"k%d" % rng.randrange(keys)
        if rng.random() < 0.25:
            self.withdraw(channel, key)
        else:
            self.write(channel, key)

    def _publish(self, channel: str, key: bytes, value: bytes | None) -> None:
        if value is None:
            self.truth[channel].pop(key, None)
        else:
            self.truth[channel][key] = value
        self.node.publish(channel, key, value)

    # --- listening

    def changed(self, channel: str, changes: tuple[ChannelChange, ...]) -> None:
        heard = self.heard[channel]
        for change in changes:
            key = (change.owner, change.key)
            if change.value is None:
                if heard.pop(key, None) is None:
                    raise InvariantBroken(f"{self.node.ip} was told to drop {key} of {channel}, which it never had")
                continue
            newest = self.newest.get((channel, key), b"")
            if change.value < newest and change.owner != self.node.name:
                raise InvariantBroken(f"{self.node.ip} was told an older value of {key} in {channel} than before")
            self.newest[channel, key] = change.value
            heard[key] = change.value

    def delivered(self, source: PeerName, kind: str, payload: bytes) -> None:
        self.mail.append((source, payload))

    def peers_changed(self, effect: PeersChanged) -> None:
        """Check that what the core tells agrees with what it says when asked."""
        reachable = self.node.core.reachable()
        if not reachable.issuperset(effect.appeared) or not reachable.isdisjoint(effect.vanished):
            raise InvariantBroken(f"{self.node.ip}: reachable peers contradict {effect}")
