"""Which hosts get what is sent to a multicast group: those with members, once that is known for sure.

Each host publishes the MACs of the groups it has members of (`weave.net.groups`). A group is pruned, that is, held back
from hosts without members, only where nobody can be overlooked:

* it has been known for a while, so that all who join it when it begins have been heard of;
* the host in question tells of its groups, is reachable, and has been so for a while.

Everything else goes to all, as if there were no groups. When this router ends, all groups do.

key    the six octets of a group's MAC, or one zero octet: everything is wanted here
value  an empty map; unknown keys are skipped
"""

import logging
from collections.abc import Callable, Collection, Sequence
from math import inf

import trio

from weave.errors import EnvironmentFailure
from weave.logs import fields
from weave.mesh.entries import ChannelChange
from weave.mesh.service import MeshService
from weave.names import PeerName
from weave.net import Datapath, Mac, Membership, Receivers, is_pruned
from weave.router.endpoints import MAC_BYTES
from weave.wire import pack

log = logging.getLogger("weave.multicast")

CHANNEL = "groups"
TELLS_GROUPS = "groups"
"""The feature of a peer that publishes in this channel."""
EVERYTHING = b"\0"
SETTLE_S = 5.0
"""How long a host, or a group, is known before it is relied on; what is published is everywhere within a second."""
LOOK_INTERVAL_S = 30.0
"""The kernel tells of changes; this finds what it may have failed to tell."""
RETRY_S = 2.0
_VALUE = pack({})


class Groups:
    """What is known of groups and hosts; decides who gets copies. Pure."""

    def __init__(self) -> None:
        self.local = Membership(frozenset(), everything=False)
        self._claims: dict[PeerName, set[bytes]] = {}
        self._told_since: dict[PeerName, float] = {}
        self._known_since: dict[Mac, float] = {}
        self._deadline = inf

    def claim(self, owner: PeerName, key: bytes, *, holds: bool) -> bool:
        """Note what a peer publishes; say whether it makes sense."""
        if not holds:
            self._claims.get(owner, set()).discard(key)
            return True
        if key != EVERYTHING and not (len(key) == MAC_BYTES and is_pruned(Mac(key))):
            return False
        self._claims.setdefault(owner, set()).add(key)
        return True

    def tellers(self, peers: Collection[PeerName], now: float) -> None:
        """Take note of the peers that are reachable and tell of their groups; the others get everything."""
        self._told_since = {peer: self._told_since.get(peer, now) for peer in peers}
        self._claims = {peer: keys for peer, keys in self._claims.items() if keys}

    def receivers(self, remotes: Collection[PeerName], now: float) -> Receivers:
        """Return who of these peers gets what is sent to each group that is pruned."""
        peers = frozenset(remotes)
        told = {peer for peer in peers if self._told_since.get(peer, now) + SETTLE_S <= now}
        greedy = {peer for peer in peers if peer not in told or EVERYTHING in self._claims.get(peer, ())}
        claimed = {Mac(key) for keys in self._claims.values() for key in keys if key != EVERYTHING}
        self._known_since = {mac: self._known_since.get(mac, now) for mac in sorted(claimed | self.local.macs)}
        waits = [since + SETTLE_S for since in (*self._known_since.values(), *self._told_since.values())]
        self._deadline = min((until for until in waits if until > now), default=inf)
        found = {mac: frozenset(greedy | {peer for peer in told if mac in self._claims.get(peer, ())})
                 for mac, since in self._known_since.items() if since + SETTLE_S <= now}
        return {mac: chosen for mac, chosen in found.items() if chosen != peers}

    def deadline(self) -> float:
        """Return when `receivers` will say something else, should nothing change."""
        return self._deadline


class Multicast:
    """Tell the other hosts of our groups, and hear of theirs."""

    def __init__(self, mesh: MeshService, datapath: Datapath) -> None:
        self.groups = Groups()
        self.refused = 0
        self.on_changed: Callable[[], None] = lambda: None
        self._mesh = mesh
        self._datapath = datapath
        self._published: set[bytes] = set()

    def entries_changed(self, changes: Sequence[ChannelChange]) -> None:
        """Take in what peers publish."""
        for change in changes:
            self.refused += not self.groups.claim(change.owner, change.key, holds=change.value is not None)
        self.on_changed()

    def receivers(self, remotes: Collection[PeerName]) -> Receivers:
        """Return who of these peers gets what is sent to each group that is pruned."""
        now = trio.current_time()
        self.groups.tellers([peer.name for peer in self._mesh.core.peers()
                             if peer.reachable and peer.features.get(TELLS_GROUPS) is True], now)
        return self.groups.receivers(remotes, now)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Publish our groups until cancelled; then hold nothing back any more, for nobody would notice new members."""
        task_status.started()
        try:
            while True:
                try:
                    self._look()
                except EnvironmentFailure as exc:
                    log.warning("cannot see which multicast groups have members", extra=fields(reason=exc))
                    await trio.sleep(RETRY_S)
                with trio.move_on_after(LOOK_INTERVAL_S):
                    await self._datapath.members_changed()
        finally:
            with trio.CancelScope(shield=True):
                await self._datapath.set_receivers({})

    def _look(self) -> None:
        found = self._datapath.members()
        if found == self.groups.local:
            return
        self.groups.local = found
        wanted = {EVERYTHING} if found.everything else {bytes(mac) for mac in found.macs}
        for key in sorted(wanted - self._published):
            self._mesh.publish(CHANNEL, key, _VALUE)
        for key in sorted(self._published - wanted):
            self._mesh.publish(CHANNEL, key, None)
        self._published = wanted
        self.on_changed()
