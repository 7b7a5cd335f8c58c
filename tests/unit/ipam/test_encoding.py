"""Entries, messages and rows: what is encoded is decoded, whatever else is a `RemoteError` or no concern of ours."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.changes import Delete, Put
from tests.unit.ipam.cluster import peer
from weave import wire
from weave.addresses import IPNetwork
from weave.errors import LocalError, RemoteError
from weave.ipam import codec, gossip, messages
from weave.ipam.blocks import Block, Universe
from weave.ipam.division import make_division
from weave.ipam.messages import Ask, AskView, Bequest, Denial, Deny, Grant, Message, View
from weave.ipam.paxos import NO_BALLOT, Ballot, Vote
from weave.ipam.ring import Range
from weave.ipam.space import Holding
from weave.ipam.stored import Rows

V4, V6 = Universe(ip_network("10.32.0.0/12")), Universe(ip_network("fd00:32::/48"))
BOTH = pytest.mark.parametrize("universe", [V4, V6], ids=["IPv4", "IPv6"])
RING = b"ringring"


def a_range(universe: Universe, size: int = 16, version: int = 3) -> Range:
    return Range(Block(universe.start + 4 * size, size), peer(2), version, peer(1))


# --- gossip ---------------------------------------------------------------------------------------------------------


@BOTH
def test_entries_are_what_they_were(universe: Universe) -> None:
    keys, range_ = gossip.Keys(universe), a_range(universe)
    division = make_division(universe.network, [peer(3), peer(1)])
    vote = Vote(3, True, Ballot(5, peer(1)), Ballot(4, peer(2)), (peer(1), peer(3)))
    assert keys.decode(keys.range(range_.block), gossip.encode_range(RING, range_)) == gossip.RangeEntry(
        range_.block, RING, range_)
    assert keys.decode(keys.seed, codec.encode_division(division)) == gossip.SeedEntry(division)
    assert keys.decode(keys.vote, codec.encode_vote(universe.network, vote)) == gossip.VoteEntry(universe.network, vote)
    assert keys.decode(keys.wish, gossip.encode_wish(universe.network)) == gossip.WishEntry(universe.network)
    assert keys.decode(keys.hint, gossip.encode_hint(RING, 20)) == gossip.HintEntry(RING, 20)


@BOTH
def test_withdrawn_entries_say_nothing(universe: Universe) -> None:
    keys, block = gossip.Keys(universe), a_range(universe).block
    assert keys.decode(keys.range(block), None) == gossip.RangeEntry(block)
    assert keys.decode(keys.seed, None) == gossip.SeedEntry(None)
    assert keys.decode(keys.vote, None) == gossip.VoteEntry(None, None)
    assert keys.decode(keys.hint, None) == gossip.HintEntry()


def test_families_do_not_meet_in_one_channel() -> None:
    four, six = gossip.Keys(V4), gossip.Keys(V6)
    for key in (six.seed, six.vote, six.wish, six.hint, six.range(a_range(V6).block), b"later", b""):
        assert four.decode(key, b"whatever") is None


BAD_ENTRIES = [
    ("range", b""), ("range", wire.pack([RING, b"short", 1, b"123456"])),
    ("range", wire.pack([RING, b"123456", 0, b"123456"])), ("range", wire.pack([RING, b"123456", 1 << 60, b"123456"])),
    ("range", wire.pack([b"ring", b"123456", 1, b"123456"])), ("range", wire.pack([RING, b"123456"])),
    ("seed", wire.pack(["10.32.0.0/12", b""])), ("seed", wire.pack(["10.32.0.1/12", b"123456"])),
    ("seed", wire.pack(["fd00::/48", b"123456"])), ("seed", wire.pack(["10.32.0.0/12", b"123456123456"])),
    ("seed", wire.pack(["10.32.0.0/12", b"1234567"])),
    ("vote", wire.pack(["10.32.0.0/12", 0, False, [0, b""], [0, b""], b""])),
    ("vote", wire.pack(["10.32.0.0/12", 3, False, [1, b"123456"], [2, b"123456"], b"123456"])),
    ("vote", wire.pack(["10.32.0.0/12", 3, False, [2, b"123456"], [2, b"123456"], b""])),
    ("vote", wire.pack(["10.32.0.0/12", 3, 1, [0, b""], [0, b""], b""])),
    ("hint", wire.pack([RING, 34])), ("hint", wire.pack([RING, -1])), ("wish", wire.pack([4])),
]


@pytest.mark.parametrize(("kind", "value"), BAD_ENTRIES)
def test_bad_values_are_refused(kind: str, value: bytes) -> None:
    keys = gossip.Keys(V4)
    key = keys.range(a_range(V4).block) if kind == "range" else getattr(keys, kind)
    with pytest.raises(RemoteError):
        keys.decode(key, value)


@pytest.mark.parametrize("octets", [bytes([10, 0, 0, 0, 12]), bytes([10, 32, 0, 1, 24]), bytes([10, 32, 0, 0, 33]),
                                    bytes([10, 32, 0, 0, 8])])
def test_blocks_outside_of_the_range_are_refused(octets: bytes) -> None:
    with pytest.raises(RemoteError):
        gossip.Keys(V4).decode(b"t" + octets, gossip.encode_range(RING, a_range(V4)))


def test_fields_of_a_later_version_are_skipped() -> None:
    keys = gossip.Keys(V4)
    assert keys.decode(keys.hint, wire.pack([RING, 3, "later"])) == gossip.HintEntry(RING, 3)


# --- messages -------------------------------------------------------------------------------------------------------


def all_messages(universe: Universe) -> list[Message]:
    ranges = (a_range(universe), a_range(universe, size=1))
    return [Ask(7, universe.start + 1, universe.end), Grant(8, ranges), Deny(9, Denial.IN_USE, "c1", ranges),
            AskView(10, peer(5)), View(11, ()), Bequest(1 << 62, ranges)]


@BOTH
def test_messages_are_what_they_were(universe: Universe) -> None:
    for message in all_messages(universe):
        assert messages.decode(universe, RING, messages.encode(universe, RING, message)) == message


def test_messages_of_others_are_no_concern_of_ours() -> None:
    for message in all_messages(V6):
        assert messages.decode(V4, RING, messages.encode(V6, RING, message)) is None
    assert messages.decode(V4, b"otherone", messages.encode(V4, RING, Ask(1, V4.start, V4.end))) is None
    assert messages.decode(V4, RING, wire.pack([99, 4, RING, 1, "later"])) is None


@pytest.mark.parametrize("universe", [V4])
def test_truncated_messages_are_refused(universe: Universe) -> None:
    for message in all_messages(universe):
        payload = messages.encode(universe, RING, message)
        for end in range(len(payload)):
            with pytest.raises(RemoteError):
                messages.decode(universe, RING, payload[:end])


@pytest.mark.parametrize(("low", "high"), [(0, 5), (5, 5), (V4.end - 1, V4.end + 1)])
def test_request_outside_of_the_range_is_refused(low: int, high: int) -> None:
    payload = wire.pack([1, 4, RING, 1, low.to_bytes(4), high.to_bytes(5)])
    with pytest.raises(RemoteError):
        messages.decode(V4, RING, payload)


# --- rows -----------------------------------------------------------------------------------------------------------


def tables_of(universe: Universe, vote: Vote | None = None) -> dict[str, dict[bytes, bytes]]:
    rows, division = Rows(universe), make_division(universe.network, [peer(1), peer(2)])
    changes = [*rows.division(division), rows.range(division.ring_id, a_range(universe)),
               rows.used(universe.start + 9, Holding("c1", 24)), *([rows.vote(vote)] if vote else [])]
    tables: dict[str, dict[bytes, bytes]] = {}
    for change in changes:
        if isinstance(change, Put):
            tables.setdefault(change.table, {})[change.key] = change.value
    return tables


@BOTH
def test_rows_are_what_they_were(universe: Universe) -> None:
    vote = Vote(3, False, Ballot(5, peer(1)), NO_BALLOT, ())
    stored = Rows(universe).read(tables_of(universe, vote))
    assert stored.division == make_division(universe.network, [peer(1), peer(2)])
    assert stored.ranges == (a_range(universe),)
    assert stored.used == ((universe.start + 9, Holding("c1", 24)),)
    assert stored.vote == vote


def test_empty_tables_are_a_first_start() -> None:
    stored = Rows(V4).read({})
    assert (stored.division, stored.ranges, stored.used, stored.vote) == (None, (), (), None)


def test_forgetting_an_address_deletes_its_row() -> None:
    rows = Rows(V4)
    used = rows.used(V4.start, Holding("c1", 24))
    assert rows.unused(V4.start) == Delete(used.table, used.key)


@pytest.mark.parametrize("other", [ip_network("10.32.0.0/13"), ip_network("10.0.0.0/8")])
def test_state_of_another_range_is_refused_with_both_ways_out(other: IPNetwork) -> None:
    with pytest.raises(LocalError, match=r"--ipalloc-range 10\.32\.0\.0/12.*weave reset"):
        Rows(Universe(other)).read(tables_of(V4))


@given(table=st.sampled_from(["ring", "used", "seed", "paxos"]), at=st.integers(0, 200), flip=st.integers(1, 255))
def test_damaged_rows_are_refused_with_advice_or_read(table: str, at: int, flip: int) -> None:
    tables = tables_of(V4, Vote(3, False, Ballot(5, peer(1)), NO_BALLOT, ()))
    rows = tables[f"ipam.{table}"]
    key, value = next(iter(rows.items()))
    spoilt = bytearray(value)
    spoilt[at % len(value)] ^= flip
    rows[key] = bytes(spoilt)
    try:
        Rows(V4).read(tables)
    except LocalError as exc:
        assert "weave reset" in str(exc)  # noqa: PT017 - both outcomes are right
