"""What an owner writes: versions only rise, tombstones do not pile up, earlier lives end."""

import pytest

from tests.sim.fakes import FakeSigner, identity_of
from tests.unit.mesh.fixtures import entry, name
from weave.errors import LocalError
from weave.mesh import limits
from weave.mesh.author import Author, Written
from weave.mesh.channel import Channel
from weave.mesh.entries import FLOOR_KEY


def author_of(channel: Channel, incarnation: int = 1) -> Author:
    return Author(name(1), channel, FakeSigner(identity_of(name(1))), incarnation)


def test_versions_rise_and_begin_with_the_incarnation() -> None:
    author = author_of(Channel("dns"), incarnation=7)
    versions = [each.version for key in (b"a", b"b", b"a2") for each in author.write(key, b"v").entries]
    assert versions == [(7 << 32) + n for n in (1, 2, 3)]


def test_writing_the_same_again_spreads_nothing() -> None:
    author = author_of(Channel("dns"))
    author.write(b"a", b"v")
    assert author.write(b"a", b"v") == Written()
    assert author.write(b"never there", None) == Written()


def test_tombstones_are_bounded_by_raising_the_floor() -> None:
    channel = Channel("dns")
    author = author_of(channel)
    author.write(b"stays", b"v")
    spread = 0
    for number in range(1000):
        spread += len(author.write(b"%d" % number, b"v").entries)
        spread += len(author.write(b"%d" % number, None).entries)
    held = channel.held(name(1))
    assert held is not None
    assert held.tombstones <= limits.MIN_TOMBSTONES
    assert [change.key for change in channel.changes()] == [b"stays"]
    assert spread < 2200


def test_replica_follows_a_raised_floor_without_a_gap() -> None:
    here, there = Channel("dns"), Channel("dns")
    author = author_of(here)
    for each in author.write(b"stays", b"v").entries:
        there.put(each)
    told = [change for each in author.raise_floor().entries for change in there.put(each).changes]
    assert told == []
    assert there.held(name(1)) == here.held(name(1))


def test_sweep_ends_earlier_lives_and_spares_this_one() -> None:
    replica = Channel("dns")
    for each in author_of(Channel("dns"), incarnation=1).write(b"old", b"v").entries:
        replica.put(each)
    author = author_of(Channel("dns"), incarnation=2)
    for each in [*author.write(b"new", b"v").entries, *author.sweep().entries]:
        replica.put(each)
    assert [change.key for change in replica.changes()] == [b"new"]
    assert author.sweep() == Written()


def test_entries_from_above_are_contradicted_once_in_a_while() -> None:
    author = author_of(Channel("dns"))
    author.write(b"mine", b"v")
    strange = entry(1, b"strange", 9 << 32, b"v")
    news = author.answer([strange], now=0.0).entries
    assert [each.key for each in news] == [b"mine", FLOOR_KEY]
    assert all(each.version > strange.version for each in news)
    assert author.answer([entry(1, b"strange", 10 << 32, b"v")], now=1.0) == Written()
    assert author.answer([entry(1, b"strange", 11 << 32, b"v")], now=10.0) != Written()
    assert author.strangers == 2


def test_entries_of_an_earlier_life_are_left_to_the_floor() -> None:
    author = author_of(Channel("dns"), incarnation=5)
    assert author.answer([entry(1, b"old", 4 << 32, b"v")], now=0.0) == Written()
    assert author.strangers == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [(FLOOR_KEY, b"v"), (b"k" * (limits.MAX_KEY_BYTES + 1), b"v"), (b"k", b"v" * (limits.MAX_VALUE_BYTES + 1))],
)
def test_what_nobody_would_take_is_refused_at_once(key: bytes, value: bytes) -> None:
    with pytest.raises(LocalError):
        author_of(Channel("dns")).write(key, value)


def test_more_entries_than_anybody_takes_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ENTRIES_PER_OWNER", 2)
    author = author_of(Channel("dns"))
    author.write(b"a", b"v")
    author.write(b"b", b"v")
    with pytest.raises(LocalError):
        author.write(b"c", b"v")
    assert author.write(b"a", None)


def test_what_was_withdrawn_leaves_room_for_what_comes() -> None:
    """Many names live at once, and some come and go for ever."""
    channel = Channel("dns")
    author = author_of(channel)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "MAX_ENTRIES_PER_OWNER", 400)
        for number in range(300):
            author.write(b"stays %d" % number, b"v")
        for number in range(1000):
            author.write(b"%d" % number, b"v")
            author.write(b"%d" % number, None)
        held = channel.held(name(1))
    assert held is not None
    assert len(held.entries) <= 400


def test_keys_that_a_floor_removed_are_named() -> None:
    channel = Channel("dns")
    author = author_of(channel)
    author.write(b"stays", b"v")
    author.write(b"gone", b"v")
    author.write(b"gone", None)
    assert author.raise_floor().dropped == (b"gone",)
