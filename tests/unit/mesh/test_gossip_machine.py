"""Owners write, messages come in any order, twice or never, connections break: in the end all agree."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.mesh.fixtures import Peer, Wiring, roots

PEERS = 4
keys = st.sampled_from([b"a", b"b", b"c"])
channels = st.sampled_from(["dns", "ipam"])
numbers = st.integers(0, PEERS - 1)


class GossipMachine(RuleBasedStateMachine):
    @initialize()
    def set_up(self) -> None:
        self.wiring = Wiring()
        self.peers = [self.wiring.add(number + 1) for number in range(PEERS)]
        self.truth: dict[tuple[str, int, bytes], bytes] = {}
        self.incarnations = [1] * PEERS
        self.count = 0

    @rule(number=numbers, channel=channels, key=keys)
    def write(self, number: int, channel: str, key: bytes) -> None:
        self.count += 1
        self.truth[channel, number, key] = b"%d" % self.count
        self.wiring.publish(self.peers[number], channel, key, b"%d" % self.count)

    @rule(number=numbers, channel=channels, key=keys)
    def withdraw(self, number: int, channel: str, key: bytes) -> None:
        self.truth.pop((channel, number, key), None)
        self.wiring.publish(self.peers[number], channel, key, None)

    @rule(here=numbers, there=numbers)
    def connect(self, here: int, there: int) -> None:
        if here != there:
            self.wiring.connect(self.peers[here], self.peers[there])

    @rule(number=numbers, which=st.integers(0, 5))
    def disconnect(self, number: int, which: int) -> None:
        views = self.peers[number].core.connections()
        if views:
            self.wiring.disconnect(self.peers[number], views[which % len(views)].conn)

    @rule(seconds=st.sampled_from([0.01, 0.1, 1.0, 4.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.wiring.run(seconds)

    @precondition(lambda self: not self.wiring.lose)
    @rule()
    def begin_losing(self) -> None:
        self.wiring.lose = True

    @precondition(lambda self: self.wiring.lose)
    @rule()
    def stop_losing(self) -> None:
        self.wiring.lose = False

    @rule(number=numbers)
    def restart(self, number: int) -> None:
        """A new life keeps its durable entries and loses the others."""
        old = self.peers[number]
        for view in old.core.connections():
            self.wiring.disconnect(old, view.conn)
        self.wiring.peers.remove(old)
        self.incarnations[number] += 1
        new = self.wiring.add(
            number + 1,
            incarnation=self.incarnations[number],
            uid=100 + number + 1,
            restored={name: dict(rows) for name, rows in old.rows.items()},
        )
        new.rows = old.rows
        self.peers[number] = new
        self.truth = {where: value for where, value in self.truth.items() if where[:2] != ("dns", number)}

    @invariant()
    def nobody_refuses_anything(self) -> None:
        assert all(not peer.core.refused for peer in self.peers)

    def teardown(self) -> None:
        if not hasattr(self, "peers"):
            return
        self.wiring.lose = False
        for here, there in zip(self.peers, self.peers[1:], strict=False):
            self.wiring.connect(here, there)
        self.wiring.run(40)
        assert all(roots(peer) == roots(self.peers[0]) for peer in self.peers)
        for peer in self.peers:
            self._check(peer)

    def _check(self, peer: Peer) -> None:
        for channel in ("dns", "ipam"):
            wanted = {
                (self.peers[number].me.name, key): value
                for (where, number, key), value in self.truth.items()
                if where == channel and self.peers[number] is not peer
            }
            heard = {who: value for who, value in peer.heard(channel).items() if who[0] != peer.me.name}
            assert heard == wanted


TestGossipMachine = GossipMachine.TestCase
TestGossipMachine.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
