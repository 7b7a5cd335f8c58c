"""What peers may send to the allocator: any unicast payload, any entry of the channel, in any state.

Input: one byte of what it is, two of the length of the key, the key, the value. The core lives on, counts what it
refuses, and keeps its books in order. Allowed: nothing is raised.
"""

from ipaddress import ip_network
from random import Random

from weave.ipam import gossip, messages
from weave.ipam.blocks import Block
from weave.ipam.codec import encode_division, encode_vote
from weave.ipam.core import IpamCore
from weave.ipam.division import make_division
from weave.ipam.messages import Ask, AskView, Bequest, Denial, Deny, Grant, View
from weave.ipam.modes import Consensus, Seed
from weave.ipam.paxos import Ballot, Vote
from weave.ipam.ring import Range
from weave.names import PeerName

RANGE = ip_network("10.32.0.0/24")
ME, OTHER = PeerName("02:00:00:00:00:01"), PeerName("02:00:00:00:00:02")
DIVISION = make_division(RANGE, [ME, OTHER])
RING = DIVISION.ring_id
ENTRY, OWN_ENTRY, MESSAGE = range(3)


def target(data: bytes) -> None:
    if len(data) < 3:
        return
    kind, length = data[0] % 3, int.from_bytes(data[1:3])
    key, value = data[3 : 3 + length], data[3 + length :]
    for core in (founded(), unfounded()):
        if kind == MESSAGE:
            effects = core.message(OTHER, key + value, 1.0)
        else:
            effects = core.entries_changed([(ME if kind == OWN_ENTRY else OTHER, key, value)], 1.0)
        assert isinstance(effects, list)
        core.tick(2.0)
        check(core)


def check(core: IpamCore) -> None:
    """See that the books are in order."""
    assert core.status()
    view = core.view()
    if core.estate is not None:
        assert sum(range_.size for range_ in view.ranges) == RANGE.num_addresses
        assert core.space.free.total <= core.space.owned.total


def founded() -> IpamCore:
    core = IpamCore(me=ME, range_=RANGE, default_subnet=None, init=Seed((ME, OTHER)), rng=Random(1), stored={})
    core.start(0.0)
    core.peers_changed(frozenset({OTHER}), {}, 0.0)
    core.allocate(1, "c1", None, 0.0)
    core.allocate(2, "c2", ip_network("10.32.0.192/26"), 0.0)
    return core


def unfounded() -> IpamCore:
    core = IpamCore(me=ME, range_=RANGE, default_subnet=None, init=Consensus(3), rng=Random(1), stored={})
    core.start(0.0)
    core.peers_changed(frozenset({OTHER}), {}, 0.0)
    core.allocate(1, "c1", None, 0.0)
    return core


def _seed(kind: int, key: bytes, value: bytes = b"") -> bytes:
    return bytes([kind]) + len(key).to_bytes(2) + key + value


def _seeds() -> list[bytes]:
    core = founded()
    universe, keys = core.universe, gossip.Keys(core.universe)
    base = universe.start
    theirs, ours = Range(Block(base + 128, 64), OTHER, 4, OTHER), Range(Block(base, 32), OTHER, 1, ME)
    vote = Vote(3, True, Ballot(5, OTHER), Ballot(4, OTHER), (ME, OTHER))
    sent = [Ask(7, base + 1, base + 9), Grant(8, (ours,)), Deny(9, Denial.IN_USE, "c1", (theirs,)), AskView(10, OTHER),
            View(11, (ours, theirs)), Bequest(12, (ours,))]
    entries = [(keys.range(each.block), gossip.encode_range(RING, each)) for each in (theirs, ours)]
    entries += [(keys.seed, encode_division(DIVISION)), (keys.vote, encode_vote(RANGE, vote)),
                (keys.wish, gossip.encode_wish(RANGE)), (keys.hint, gossip.encode_hint(RING, 5))]
    return [
        *(_seed(MESSAGE, messages.encode(universe, RING, message)) for message in sent),
        *(_seed(kind, *entry) for kind in (ENTRY, OWN_ENTRY) for entry in entries),
    ]


SEEDS: list[bytes] = _seeds()
