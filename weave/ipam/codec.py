"""How the values of address allocation become octets: fields that gossip, messages and stored rows share.

Everything is a msgpack list whose first fields are known; later versions may append more. Decoding raises
`RemoteError` for whatever is not exactly that, and the caller decides whose fault it is.
"""

from collections.abc import Sequence

from weave import wire
from weave.addresses import IPNetwork, parse_network
from weave.errors import LocalError, RemoteError
from weave.ipam.blocks import Block, Universe
from weave.ipam.division import RING_ID_BYTES, Division
from weave.ipam.limits import MAX_SEED_PEERS, MAX_VERSION
from weave.ipam.paxos import NO_BALLOT, Ballot, Vote
from weave.ipam.ring import Range
from weave.names import PEER_NAME_BYTES, PeerName, peer_name_from_bytes, peer_name_to_bytes

MAX_NETWORK_CHARS = 64


def fields(value: object, what: str, count: int) -> list[object]:
    """Return the first `count` items of a list that has at least so many."""
    items = wire.expect_list(value, what)
    if len(items) < count:
        raise wire.WireError(f"{what} should have {count} fields, this one has {len(items)}")
    return items[:count]


# --- parts ----------------------------------------------------------------------------------------------------------


def name_of(value: object) -> PeerName:
    """Decode a peer name."""
    return peer_name_from_bytes(wire.expect_bytes(value, "peer name", size=PEER_NAME_BYTES))


def ring_id_of(value: object) -> bytes:
    """Decode a ring id."""
    return wire.expect_bytes(value, "ring id", size=RING_ID_BYTES)


def encode_names(names: Sequence[PeerName]) -> bytes:
    """Encode a list of peer names without a gap."""
    return b"".join(map(peer_name_to_bytes, names))


def decode_names(value: object) -> tuple[PeerName, ...]:
    """Decode a list of peer names; they are sorted and unique."""
    octets = wire.expect_bytes(value, "peer names", most=MAX_SEED_PEERS * PEER_NAME_BYTES)
    parts = [octets[at : at + PEER_NAME_BYTES] for at in range(0, len(octets), PEER_NAME_BYTES)]
    names = tuple(map(peer_name_from_bytes, parts))
    if list(names) != sorted(set(names)):
        raise RemoteError("a list of peers should be sorted and without repetition")
    return names


def decode_network(value: object, universe: Universe) -> IPNetwork:
    """Decode the range of a ring of our family."""
    try:
        network = parse_network(wire.expect_str(value, "range", most=MAX_NETWORK_CHARS))
    except LocalError as exc:
        raise RemoteError(str(exc)) from exc
    if network.version != universe.family:
        raise RemoteError(f"range {network} is of the wrong family")
    return network


def encode_block(universe: Universe, block: Block) -> bytes:
    """Encode a block: its first address and its prefix length."""
    return block.start.to_bytes(universe.octets) + bytes([universe.prefix(block)])


def decode_block(universe: Universe, value: object) -> Block:
    """Decode a block within the range."""
    octets = wire.expect_bytes(value, "block", size=universe.octets + 1)
    if octets[-1] > universe.bits:
        raise RemoteError(f"no block has a prefix of {octets[-1]} bits")
    start, size = int.from_bytes(octets[:-1]), 1 << (universe.bits - octets[-1])
    if not universe.holds(start, size):
        raise RemoteError("a block outside of the range")
    return Block(start, size)


# --- ranges ---------------------------------------------------------------------------------------------------------


def range_fields(range_: Range) -> list[wire.Plain]:
    """Return the fields of a range besides its block."""
    return [peer_name_to_bytes(range_.owner), range_.version, peer_name_to_bytes(range_.writer)]


def decode_range(block: Block, values: Sequence[object]) -> Range:
    """Decode a range from its block and its fields."""
    owner, version, writer = values
    return Range(block, name_of(owner), wire.expect_int(version, "version", 1, MAX_VERSION), name_of(writer))


# --- divisions and votes --------------------------------------------------------------------------------------------


def encode_division(division: Division) -> bytes:
    """Encode the first division."""
    return wire.pack([str(division.network), encode_names(division.peers)])


def decode_division(universe: Universe, data: bytes) -> Division:
    """Decode a first division, of whatever range."""
    network, peers = fields(wire.unpack(data), "first division", 2)
    names = decode_names(peers)
    if not names:
        raise RemoteError("a first division among nobody")
    return Division(decode_network(network, universe), names)


def encode_vote(network: IPNetwork, vote: Vote) -> bytes:
    """Encode the state of an elector."""
    return wire.pack([
        str(network), vote.expected, vote.wants, _ballot_fields(vote.promised), _ballot_fields(vote.accepted),
        encode_names(vote.value),
    ])


def decode_vote(universe: Universe, data: bytes) -> tuple[IPNetwork, Vote]:
    """Decode the state of an elector and the range it votes on; it does not contradict itself."""
    network, expected, wants, promised, accepted, value = fields(wire.unpack(data), "vote", 6)
    vote = Vote(
        wire.expect_int(expected, "expected peers", 1, MAX_SEED_PEERS), wire.expect_bool(wants, "wants"),
        _decode_ballot(promised), _decode_ballot(accepted), decode_names(value),
    )
    if vote.accepted > vote.promised or (vote.accepted == NO_BALLOT) != (not vote.value):
        raise RemoteError("a vote that contradicts itself")
    return decode_network(network, universe), vote


def _ballot_fields(ballot: Ballot) -> list[wire.Plain]:
    return [ballot.round, peer_name_to_bytes(ballot.proposer) if ballot != NO_BALLOT else b""]


def _decode_ballot(value: object) -> Ballot:
    round_, proposer = fields(value, "ballot", 2)
    if round_ == 0 and proposer == b"":
        return NO_BALLOT
    return Ballot(wire.expect_int(round_, "round", 1, MAX_VERSION), name_of(proposer))
