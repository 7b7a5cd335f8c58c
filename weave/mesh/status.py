"""What status pages may ask of a mesh core: snapshots, counters and warnings; nothing here changes anything."""

from collections import Counter

from weave.mesh.attempts import TargetView
from weave.mesh.clones import Clones
from weave.mesh.connections import Connections
from weave.mesh.courier import Courier
from weave.mesh.entries import ChannelChange
from weave.mesh.gossip import Gossip
from weave.mesh.network import Network
from weave.mesh.peers import LocalPeer
from weave.mesh.planning import Planning
from weave.mesh.views import BroadcastRoute, ChannelView, ConnectionView, PeerView, UnicastRoute
from weave.names import PeerName


class MeshStatus:
    """The parts of a mesh core, and how they look from outside."""

    def __init__(
        self,
        me: LocalPeer,
        gossip: Gossip,
        network: Network,
        connections: Connections,
        courier: Courier,
        planner: Planning,
    ) -> None:
        self._me = me
        self._gossip = gossip
        self._network = network
        self._connections = connections
        self._courier = courier
        self._planner = planner
        self._clones = Clones()

    @property
    def refused(self) -> Counter[str]:
        """Return what was refused, by reason."""
        return self._gossip.refused

    def reachable(self) -> frozenset[PeerName]:
        """Return who is reachable, ourselves included."""
        return self._network.reachable

    def is_reachable(self, peer: PeerName) -> bool:
        """Say whether there is a path to a peer."""
        return peer in self._network.reachable

    def identity_of(self, peer: PeerName) -> bytes | None:
        """Return the encoded identity that is pinned under a name."""
        return self._gossip.identities.of(peer)

    def entries(self, channel: str) -> list[ChannelChange]:
        """Return every live entry of a channel; raise `LocalError` for an unknown one."""
        return list(self._gossip.channel(channel).changes())

    def peers(self) -> list[PeerView]:
        """Return everybody who is remembered, sorted by name."""
        return self._network.peers()

    def addresses(self) -> tuple[str, ...]:
        """Return the underlay addresses that the others are told of us."""
        return self._me.addresses

    def nicknames(self) -> dict[PeerName, str]:
        """Return what people call the peers that are remembered."""
        return self._network.nicknames()

    def connections(self) -> list[ConnectionView]:
        """Return our connections, the oldest first."""
        return self._connections.views()

    def targets(self) -> list[TargetView]:
        """Return what we try to connect to."""
        return self._planner.targets()

    def unicast_routes(self) -> list[UnicastRoute]:
        """Return the way to every reachable peer."""
        return self._network.unicast_routes()

    def broadcast_routes(self) -> list[BroadcastRoute]:
        """Return to whom we pass on what each reachable peer publishes."""
        return self._network.broadcast_routes()

    def counters(self) -> list[ChannelView]:
        """Return how every channel does."""
        return self._gossip.views(self._courier.sent_bytes)

    def has_clone(self) -> bool:
        """Say whether another machine was lately seen to run with our key."""
        return self._clones.is_ours(self._gossip.strangers())

    def saw_clone(self, now: float) -> None:
        """Note that the other end of a handshake turned out to have our key."""
        self._clones.saw_ours(now)

    def warnings(self) -> list[str]:
        """Return what needs a person, in sentences."""
        said = [
            f"two machines run with the key of peer {name} ({self._network.nickname(name)}), one of them at {address}; "
            "stop one and delete its state directory"
            for name, address in self._clones.others()
        ]
        if self.has_clone():
            said.append(
                f"another machine runs with the key of this peer ({self._me.name}); "
                "stop one of them and delete its state directory"
            )
        elif self._clones.news(self._gossip.strangers()):
            said.append("this peer met newer entries of its own: its database is older than what it once published")
        return said
