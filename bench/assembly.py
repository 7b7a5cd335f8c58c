"""Put a large simulated mesh together as it is after years, instead of letting it find itself.

A thousand peers that start together tell each other a hundred million things before they are at rest: an hour for a
simulator, and not what is asked. Here every peer is connected to the neighbours that its planner would choose, and
then handed what the others have published, through the same doors as from the network; nothing is known to a core that
it was not told in a message. From then on everything runs by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from weave.mesh import limits, topology
from weave.mesh.messages import Delta, Group, Heartbeat, Message, Want
from weave.mesh.neighbours import ring_sides, wanted_links

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster
    from tests.sim.network import End
    from weave.mesh.entries import Entry
    from weave.names import PeerName

CONNECT_S = 0.5
"""Until every connection is made."""
PUBLISH_S = 1.5
"""Until every peer has published its links."""
PORT = 6783


class Recorder:
    """Takes down what peers publish of themselves, and lets nothing through."""

    def __init__(self) -> None:
        self._groups: dict[PeerName, tuple[bytes, dict[bytes, Entry]]] = {}

    def send(self, end: End, message: Message) -> None:  # noqa: ARG002 - stands in for the network
        """Take a message that does not reach the other end."""
        if isinstance(message, Delta) and message.channel == topology.CHANNEL:
            for group in message.groups:
                _, entries = self._groups.setdefault(group.owner, (group.identity, {}))
                for entry in group.entries:
                    if entry.key not in entries or entry.version > entries[entry.key].version:
                        entries[entry.key] = entry

    def delta(self) -> Delta:
        """Return everything that was published."""
        groups = (Group(owner, identity, tuple(entries[key] for key in sorted(entries)))
                  for owner, (identity, entries) in sorted(self._groups.items()))
        return Delta(topology.CHANNEL, tuple(groups))


def assemble(cluster: Cluster) -> None:
    """Start all nodes of a cluster, connect them, and let each know what the others have published."""
    world = cluster.world
    recorder = Recorder()
    with _muted(cluster, recorder), _nobody_relays():
        for node in cluster.nodes:
            node.start()
        _connect(cluster)
        world.run(world.now + CONNECT_S)
        for node in cluster.nodes:
            for conn in sorted(node.ends):
                node.on_message(node.ends[conn], Heartbeat(1, 0, 0, ()))  # a connection counts from the first word on
        world.run(world.now + PUBLISH_S)
        for node in cluster.nodes:
            node.on_message(node.ends[min(node.ends)], Want(topology.CHANNEL, ((node.name, 0),)))
        everything = recorder.delta()
        for node in cluster.nodes:
            node.on_message(node.ends[min(node.ends)], everything)


def _connect(cluster: Cluster) -> None:
    """Let each peer dial those of its neighbours that leave it to the lower name."""
    by_name = {node.name: node for node in cluster.nodes}
    for node in cluster.nodes:
        for name in wanted_links(ring_sides(node.name, by_name)):
            if node.name < name:
                cluster.network.dial(node, f"{by_name[name].ip}:{PORT}")


@contextmanager
def _muted(cluster: Cluster, recorder: Recorder) -> Iterator[None]:
    network = cluster.network
    send = network.send
    network.send = recorder.send  # type: ignore[method-assign]
    try:
        yield
    finally:
        network.send = send  # type: ignore[method-assign]


@contextmanager
def _nobody_relays() -> Iterator[None]:
    """Keep peers from passing on what they are handed: everybody is handed the same."""
    fanout = limits.UNSETTLED_FANOUT
    limits.UNSETTLED_FANOUT = 0
    try:
        yield
    finally:
        limits.UNSETTLED_FANOUT = fanout
