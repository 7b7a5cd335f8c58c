"""A host: a mesh core with its shell, a disk that forgets what was not synced, and an application on top.

The application sees what a router's parts see (`Changed`, `Deliver`, `PeersChanged`) and acts through the node
(`publish`, `send`, `commit`). A crash loses the core, the application's memory and all unsynced writes; a restart
raises the incarnation, as the router does, before anything else.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from store.changes import Change, Put
from tests.sim.fakes import FakeSigner, FakeVerifier, identity_of
from weave.mesh.core import TABLES, MeshCore
from weave.mesh.effects import Changed, Close, Deliver, Dial, Effect, PeersChanged, Persist, Send
from weave.mesh.peers import LocalPeer, MeshConfig, RemotePeer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.sim.network import End, Network
    from tests.sim.world import World
    from weave.mesh.entries import ChannelChange
    from weave.mesh.messages import Message
    from weave.mesh.network import Memo
    from weave.names import PeerName

SYNC_S = 0.004
"""How long a commit takes."""
CONTROL_PORT = 6783


class App(Protocol):
    """What may run on a node. All calls come synchronously, in the order of the core's effects."""

    def start(self) -> None: ...
    def changed(self, channel: str, changes: tuple[ChannelChange, ...]) -> None: ...
    def delivered(self, source: PeerName, kind: str, payload: bytes) -> None: ...
    def peers_changed(self, effect: PeersChanged) -> None: ...


class Disk:
    """Tables of rows; what is not synced is lost in a crash."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[bytes, bytes]] = {}

    def write(self, changes: Sequence[Change]) -> None:
        for change in changes:
            table = self.tables.setdefault(change.table, {})
            if isinstance(change, Put):
                table[change.key] = change.value
            else:
                table.pop(change.key, None)

    def read(self, table: str) -> dict[bytes, bytes]:
        return dict(self.tables.get(table, {}))


class Node:
    def __init__(
        self,
        *,
        world: World,
        network: Network,
        name: PeerName,
        ip: str,
        make_app: Callable[[Node], App],
        config: MeshConfig,
        targets: tuple[str, ...],
        memo: Memo,
        disk: Disk | None = None,
        protocol: tuple[int, int] = (3, 3),
    ) -> None:
        self.world = world
        self.network = network
        self.name = name
        self.ip = ip
        self.targets = targets
        self.disk = disk or Disk()
        self.config = config
        self.is_up = False
        self.life = 0
        self.ends: dict[int, End] = {}
        self.sent_bytes = 0
        self.app: App = make_app(self)
        self.core: MeshCore
        self.me: LocalPeer
        self.commits = 0
        self._make_app = make_app
        self._memo = memo
        self._identity = identity_of(name)
        self._protocol = protocol
        self._rng = world.rng(f"node {ip}")
        self._effects: deque[Effect] = deque()
        self._is_draining = False
        self._wakes_at = float("inf")
        network.nodes[ip] = self

    # --- life

    def start(self) -> None:
        assert not self.is_up
        incarnation = 1 + int.from_bytes(self.disk.read("life").get(b"incarnation", b""), "big")
        self.disk.write([Put("life", b"incarnation", incarnation.to_bytes(8, "big"))])
        self.life += 1
        self.is_up = True
        self.ends = {}
        self.me = LocalPeer(
            name=self.name,
            identity=self._identity,
            nickname=self.ip,
            uid=self._rng.getrandbits(63),
            incarnation=incarnation,
            control_port=CONTROL_PORT,
            addresses=(self.ip,),
            protocol_min=self._protocol[0],
            protocol_max=self._protocol[1],
        )
        self.core = MeshCore(
            me=self.me,
            signer=FakeSigner(self._identity),
            verifier=FakeVerifier(),
            config=self.config,
            rng=self._rng,
            now=self.world.now,
            memo=self._memo,
            restored={table: self.disk.read(table) for table in TABLES},
        )
        self.world.note("start", self.ip, incarnation)
        self._wakes_at = float("inf")
        self._effects.clear()
        self.app = self._make_app(self)
        self._run(self.core.start(self.world.now))
        self.app.start()
        self._run(self.core.add_targets(self.targets, self.world.now))

    def crash(self) -> None:
        """Stop as if the power failed; the others hear nothing unless their packets are answered with resets."""
        assert self.is_up
        self.world.note("crash", self.ip)
        self.is_up = False
        for end in sorted(self.ends.values(), key=lambda each: each.conn):
            self.network.close(end, "crashed")
        self.ends = {}

    def stop_silently(self) -> None:
        """Stop as if the machine vanished: nobody answers its connections."""
        self.world.note("vanish", self.ip)
        self.is_up = False
        for end in self.ends.values():
            end.is_open = False
        self.ends = {}

    def hello(self) -> RemotePeer:
        return RemotePeer(self.name, self._identity, self.ip, self.me.uid, CONTROL_PORT)

    # --- what the application does

    def publish(self, channel: str, key: bytes, value: bytes | None) -> None:
        self._run(self.core.publish(channel, key, value, self.world.now))

    def send(self, destination: PeerName, kind: str, payload: bytes) -> None:
        self._run(self.core.send(destination, kind, payload, self.world.now))

    def commit(self, changes: Sequence[Change], then: Callable[[], None] | None = None) -> None:
        """Write rows; `then` runs once they are durable, and never if the node crashes before."""
        self.commits += 1
        self.world.after(SYNC_S, self._synced, self.life, tuple(changes), then)

    def _synced(self, life: int, changes: tuple[Change, ...], then: Callable[[], None] | None) -> None:
        if not self.is_up or self.life != life:
            return
        self.disk.write(changes)
        if then is not None:
            then()

    # --- what the network does

    def on_connected(self, end: End, remote: RemotePeer, target: str | None) -> None:
        self._run(
            self.core.connection_up(
                end.conn, remote, address=end.address, outbound=end.outbound, target=target, now=self.world.now
            )
        )

    def on_message(self, end: End, message: Message) -> None:
        self.world.note("message", end.conn, type(message).__name__)
        self._run(self.core.message(end.conn, message, self.world.now))

    def on_closed(self, end: End, reason: str) -> None:
        if self.ends.pop(end.conn, None) is not None and self.is_up:
            self.world.note("closed", self.ip, end.conn, reason)
            self._run(self.core.connection_down(end.conn, reason, self.world.now))

    def on_congested(self, end: End, is_congested: bool) -> None:
        if end.is_open and self.is_up:
            self._run(self.core.congested(end.conn, is_congested, self.world.now))

    def on_dial_failed(self, target: str, reason: str, retry: bool) -> None:
        self._run(self.core.dial_failed(target, reason, retry, self.world.now))

    # --- effects and time

    def _run(self, effects: list[Effect]) -> None:
        self._effects.extend(effects)
        if self._is_draining:
            return
        self._is_draining = True
        try:
            while self._effects and self.is_up:
                self._carry_out(self._effects.popleft())
        finally:
            self._is_draining = False
        self._sleep()

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send():
                end = self.ends.get(effect.conn)
                if end is not None:
                    self.network.send(end, effect.message)
            case Changed():
                self.world.note("changed", self.ip, effect.channel, effect.changes)
                self.app.changed(effect.channel, effect.changes)
            case Deliver():
                self.app.delivered(effect.source, effect.kind, effect.payload)
            case PeersChanged():
                self.app.peers_changed(effect)
            case Persist():
                self.commit(effect.changes)
            case Dial():
                self.network.dial(self, effect.target)
            case Close():
                end = self.ends.get(effect.conn)
                if end is not None:
                    self.network.close(end, effect.reason)

    def _sleep(self) -> None:
        if not self.is_up:
            return
        deadline = self.core.deadline()
        if deadline < self._wakes_at:
            self._wakes_at = deadline
            self.world.at(deadline, self._wake, self.life, deadline)

    def _wake(self, life: int, when: float) -> None:
        if not self.is_up or life != self.life or when != self._wakes_at:
            return
        self._wakes_at = float("inf")
        if self.core.deadline() <= self.world.now:
            self.world.note("tick", self.ip)
            self._run(self.core.tick(self.world.now))
        else:
            self._sleep()
